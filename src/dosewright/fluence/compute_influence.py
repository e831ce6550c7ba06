"""Dose influence matrices of a patient's beams: photon beamlets and proton spots, by pyRadPlan's pencil beams."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from scipy import sparse

from dosewright.core import Beam, InputError, PatientCase
from dosewright.fluence.dose_influence import DoseInfluence
from dosewright.fluence.influence_settings import InfluenceSettings
from dosewright.fluence.influence_size import check_memory
from dosewright.fluence.photon_columns import photon_columns
from dosewright.fluence.proton_columns import proton_columns
from dosewright.fluence.pyradplan import import_pyradplan, quiet
from dosewright.fluence.steering import Steering, steer

INFLUENCE_VERSION = 1  # raise when the same case and settings give another matrix; caches are keyed by it
PHOTON_ANGLES_DEG = tuple(range(0, 360, 40))
PROTON_ANGLES_DEG = (60, 180, 300)
TARGET_SHARE = 0.1  # coarse voxels this much in a target count as target when the beams' reach is checked

_LOGGER = logging.getLogger(__name__)


def default_beams(case: PatientCase) -> tuple[Beam, ...]:
    """Return a case's beams; where it has none, nine equispaced coplanar photon beams, or three of protons."""
    if case.beams:
        return case.beams
    if case.technique == "proton":
        return tuple(Beam(angle, modality="proton") for angle in PROTON_ANGLES_DEG)
    return tuple(Beam(angle) for angle in PHOTON_ANGLES_DEG)


def compute_influence(
    case: PatientCase,
    settings: InfluenceSettings | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> DoseInfluence:
    """Return the dose influence of a case's beams (see `default_beams`) on its body, total Gy per unit fluence.

    A unit of fluence is pyRadPlan's: for photons it gives the machine's dose per unit of primary fluence, for protons
    it is a million particles.

    Args:
        case: The patient; its isocentre is that of `geometry.isocenter`.
        settings: Resolution and the like; None takes the defaults.
        progress: Told after each beam how many of how many are done.

    Raises:
        InputError: If the matrix needs more memory than the settings allow, a target falls between the dose grid's
            voxels, or a beam or target is missed.
        MissingExtraError: If pyRadPlan is not installed.
    """
    settings = settings or InfluenceSettings()
    case = replace(case, beams=default_beams(case))
    check_memory(case, case.beams, settings)
    rad = import_pyradplan()
    start = time.perf_counter()
    with quiet(rad):
        steering = steer(case, case.beams, settings)
        matrix = _matrix(steering, settings, progress)
    influence = DoseInfluence(matrix, case.beams, steering.beamlets, steering.grid, steering.voxels)
    _check_reach(case, influence)
    size = f"{influence.shape[0]} voxels × {influence.shape[1]} beamlets, {influence.nnz / 1e6:.1f} M entries"
    _LOGGER.info("%s: dose influence of %s in %.0f s", case.case_id, size, time.perf_counter() - start)
    return influence


def _matrix(
    steering: Steering, settings: InfluenceSettings, progress: Callable[[int, int], None] | None
) -> sparse.csc_array:
    """Return voxels × beamlets, beam by beam, so that little more than the matrix is held at once."""
    count = len(steering.stf.beams)
    indices, values, sizes = [], [], []
    for index in range(count):
        info = steering.beam_info(index)
        if steering.beamlets.energy_mev is None:
            columns = photon_columns(steering.engine, info)
        else:
            columns = proton_columns(steering.engine, info, settings.proton_rbe)
        rows, doses = zip(*columns, strict=True)
        sizes += [len(column) for column in rows]
        indices.append(np.concatenate(rows, dtype=np.int32, casting="same_kind"))
        values.append(np.concatenate(doses, dtype=np.float32, casting="same_kind"))
        del rows, doses
        if progress is not None:
            progress(index + 1, count)
    ends = np.concatenate([[0], np.cumsum(sizes)])
    parts = (_joined(values), _joined(indices), ends.astype(np.int32 if ends[-1] < 2**31 else np.int64))
    return sparse.csc_array(parts, shape=(len(steering.voxels), len(sizes)))


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    """Return the parts in one array, and empty the list, so that only one of both is held on return."""
    joined = np.concatenate(parts)
    parts.clear()
    return joined


def _check_reach(case: PatientCase, influence: DoseInfluence) -> None:
    """Raise where a target has no voxels, and where a beam gives the targets no dose."""
    target = torch.zeros(influence.shape[0], dtype=torch.bool)
    for name in case.targets:
        mask = influence.mask(case.structures[name], case.grid, TARGET_SHARE)
        if not mask.any():
            raise InputError(
                "must not fall between the voxels of the dose grid: take a finer one",
                argument=name,
                value=influence.grid.spacing_xyz_mm,
            )
        target |= mask
    to_target = influence.adjoint(target.float()).numpy()
    for index, beam in enumerate(case.beams):
        total = float(to_target[influence.beamlets.beam == index].sum())
        if not total > 0:
            at = f"beam {index} at gantry {beam.gantry_angle_deg:g}°, couch {beam.couch_angle_deg:g}°"
            raise InputError(f"must reach the targets: {at} gives them", argument="beams", value=total)
