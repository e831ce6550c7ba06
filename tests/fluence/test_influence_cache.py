"""The cache of dose influences: what it keeps, what it is keyed by, and what it does with broken files."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from cases import make_case
from dosewright.core import Beam, Grid, InputError, PatientCase
from dosewright.fluence import influence_cache
from dosewright.fluence.beamlets import Beamlets
from dosewright.fluence.dose_influence import DoseInfluence
from dosewright.fluence.influence_cache import cached_influence, influence_path
from dosewright.fluence.influence_settings import InfluenceSettings

SETTINGS = InfluenceSettings()


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Cases whose matrix was computed; the computation is a random matrix."""
    calls: list[str] = []

    def compute(case: PatientCase, settings: InfluenceSettings, **_: object) -> DoseInfluence:
        calls.append(case.case_id)
        return influence_of(case)

    monkeypatch.setattr(influence_cache, "compute_influence", compute)
    return calls


def influence_of(case: PatientCase) -> DoseInfluence:
    rng = np.random.default_rng(0)
    voxels, count = np.flatnonzero(case.body), 4 * len(case.beams)
    matrix = sparse.random_array((len(voxels), count), density=0.2, rng=rng, format="csc", dtype=np.float32)
    proton = case.technique == "proton"
    beamlets = Beamlets(
        np.repeat(np.arange(len(case.beams)), 4),
        rng.normal(size=count),
        rng.normal(size=count),
        5.0,
        rng.uniform(70, 200, count) if proton else None,
    )
    return DoseInfluence(matrix, case.beams, beamlets, case.grid, voxels)


@pytest.mark.parametrize("technique", ["IMRT", "proton"])
def test_second_call_reads_what_the_first_wrote(technique: str, tmp_path: Path, computed: list[str]) -> None:
    case = make_case()
    if technique == "proton":
        case = replace(case, technique="proton", beams=(Beam(30.0, 10.0, "proton"), Beam(200.0, modality="proton")))
    first, second = (cached_influence(case, SETTINGS, tmp_path / "new") for _ in range(2))
    assert computed == ["case_1"]
    for name in ("data", "indices", "indptr"):
        assert np.array_equal(getattr(first.csc, name), getattr(second.csc, name))
    assert second.shape == first.shape
    assert second.grid == first.grid
    assert second.beams == case.beams
    assert np.array_equal(second.voxels, first.voxels)
    for name in ("beam", "u_mm", "v_mm", "energy_mev"):
        assert np.array_equal(getattr(first.beamlets, name), getattr(second.beamlets, name))
    assert second.beamlets.size_mm == 5.0


def cube_moved(case: PatientCase) -> PatientCase:
    ct = case.ct_hu.copy()
    ct[8, 8, 8] += 1
    return replace(case, ct_hu=ct)


def body_changed(case: PatientCase) -> PatientCase:
    body = case.body.copy()
    body[1, 2, 2] = False
    return replace(case, body=body)


def target_changed(case: PatientCase) -> PatientCase:
    mask = case.structures["PTV_High"].copy()
    mask[4, 8, 9] = True
    return replace(case, structures={**case.structures, "PTV_High": mask}, isocenter_xyz_mm=case.isocenter_xyz_mm)


MATTERS: dict[str, Callable[[PatientCase], PatientCase]] = {
    "ct": cube_moved,
    "body": body_changed,
    "target": target_changed,
    "beams": lambda case: replace(case, beams=case.beams[:-1]),
    "couch": lambda case: replace(case, beams=(*case.beams[:-1], Beam(320.0, 5.0))),
    "isocenter": lambda case: replace(case, isocenter_xyz_mm=(1.0, 2.0, 30.0)),
    "grid": lambda case: replace(case, grid=Grid(case.grid.shape_zyx, (3.0, 3.0, 4.0), (-40.0, -30.0, 6.0))),
    "modality": lambda case: replace(
        case, technique="proton", beams=tuple(replace(beam, modality="proton") for beam in case.beams)
    ),
}


@pytest.mark.parametrize("change", MATTERS)
def test_what_changes_the_matrix_changes_the_key(change: str, tmp_path: Path) -> None:
    case = make_case()
    assert influence_path(MATTERS[change](case), SETTINGS, tmp_path) != influence_path(case, SETTINGS, tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"beamlet_mm": 6.0},
        {"dose_spacing_mm": 6.0},
        {"lateral_cutoff_mm": 60.0},
        {"machine": "Other"},
        {"proton_rbe": 1},
    ],
)
def test_settings_change_the_key(change: dict, tmp_path: Path) -> None:
    case = make_case()
    assert influence_path(case, replace(SETTINGS, **change), tmp_path) != influence_path(case, SETTINGS, tmp_path)


def test_versions_change_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = influence_path(make_case(), SETTINGS, tmp_path)
    monkeypatch.setattr(influence_cache, "version", lambda name: "99")
    engine = influence_path(make_case(), SETTINGS, tmp_path)
    monkeypatch.setattr(influence_cache, "INFLUENCE_VERSION", 99)
    assert len({before, engine, influence_path(make_case(), SETTINGS, tmp_path)}) == 3


def test_what_does_not_change_the_matrix_keeps_the_key(tmp_path: Path) -> None:
    case = make_case()
    before = influence_path(case, SETTINGS, tmp_path)
    few = {name: case.structures[name] for name in ("PTV_High", "PTV_Low")}
    assert influence_path(replace(case, structures=few, dose_gy=None), SETTINGS, tmp_path) == before
    assert influence_path(case, replace(SETTINGS, memory_gb=1.0), tmp_path) == before
    assert influence_path(replace(case, beams=()), SETTINGS, tmp_path) == before  # nine equispaced ones, as these


def write_truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def write_flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0xFF
    path.write_bytes(bytes(content))


def rewrite(**changes: np.ndarray | None) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with np.load(path) as arrays:
            parts = dict(arrays)
        parts.update({name: value for name, value in changes.items() if value is not None})
        for name in [name for name, value in changes.items() if value is None]:
            del parts[name]
        np.savez(path, **parts)

    return write


def entries(case: PatientCase) -> int:
    return influence_of(case).nnz


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (write_truncated, "broken cache file"),
        (write_flipped, "broken cache file"),
        (lambda path: path.write_bytes(b""), "broken cache file"),
        (rewrite(u_mm=None), "broken cache file .*u_mm"),
        (rewrite(ends=np.zeros(37, np.int32)), "ends must divide the entries into columns"),
        (rewrite(rows=np.full(entries(make_case()), -1, np.int32)), r"rows must be in \[0, "),
        (rewrite(rows=np.full(entries(make_case()), 10**6, np.int32)), r"rows must be in \[0, "),
        (rewrite(values=np.full(entries(make_case()), np.nan, np.float32)), "values must be a finite number"),
        (rewrite(values=np.zeros(3, np.float32)), "values must be a finite number"),
        (rewrite(voxels=np.arange(5)), "rows must be in"),
    ],
)
def test_broken_files_are_computed_again(
    spoil: Callable[[Path], None], message: str, tmp_path: Path, computed: list[str]
) -> None:
    case = make_case()
    whole = cached_influence(case, SETTINGS, tmp_path)
    path = influence_path(case, SETTINGS, tmp_path)
    spoil(path)
    with pytest.warns(UserWarning, match=message):
        again = cached_influence(case, SETTINGS, tmp_path)
    assert len(computed) == 2
    assert np.array_equal(again.csc.data, whole.csc.data)
    cached_influence(case, SETTINGS, tmp_path)
    assert len(computed) == 2  # and the new file is good


def test_a_failed_computation_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> DoseInfluence:
        raise InputError("must reach the targets", argument="beams", value=0.0)

    monkeypatch.setattr(influence_cache, "compute_influence", fail)
    with pytest.raises(InputError, match="beams must reach the targets"):
        cached_influence(make_case(), None, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_size_is_logged(tmp_path: Path, computed: list[str], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="dosewright"):
        cached_influence(make_case(), None, tmp_path)
    assert "GB" in caplog.text
