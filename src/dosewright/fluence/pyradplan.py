"""What every use of pyRadPlan shares: importing it late, keeping it quiet, and handing it a patient."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np

from dosewright.core import DosewrightError, PatientCase


class MissingExtraError(DosewrightError, ImportError):
    """A part of the package needs an optional dependency that is not installed."""


def import_pyradplan() -> ModuleType:
    """Return pyRadPlan, whose import takes seconds.

    Raises:
        MissingExtraError: If it is not installed.
    """
    try:
        import pyRadPlan
    except ImportError as error:
        raise MissingExtraError(
            f"dose calculation needs pyRadPlan ({error}); install it with: pip install 'dosewright[plans]'"
        ) from error
    return pyRadPlan


def ct_and_structures(case: PatientCase) -> tuple[Any, Any]:
    """Return pyRadPlan's CT and structure set: the body, which bounds the patient, and the union of the targets."""
    import SimpleITK as sitk
    from pyRadPlan.cst import StructureSet, create_voi
    from pyRadPlan.ct import create_ct

    image = sitk.GetImageFromArray(case.ct_hu.astype(np.float32))
    image.SetSpacing(case.grid.spacing_xyz_mm)
    image.SetOrigin(case.grid.origin_xyz_mm)
    ct = create_ct(cube_hu=image)
    target = np.logical_or.reduce([case.structures[name] for name in case.targets])
    parts = (("External", "EXTERNAL", case.body), ("Targets", "TARGET", target))
    vois = [create_voi(name=n, voi_type=t, mask=m.astype(np.uint8), ct_image=ct) for n, t, m in parts]
    return ct, StructureSet(vois=vois, ct_image=ct)


@contextmanager
def quiet(rad: ModuleType) -> Iterator[None]:
    """Keep pyRadPlan's log and its ray tracer's expected divisions by zero out of our output, and it on the CPU.

    On one device the same case gives the same matrix everywhere.
    """
    logger = logging.getLogger("pyRadPlan")
    level, prefer_gpu = logger.level, rad.settings.xp.prefer_gpu
    logger.setLevel(logging.ERROR)
    rad.settings.xp.prefer_gpu = False
    try:
        with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
        rad.settings.xp.prefer_gpu = prefer_gpu
