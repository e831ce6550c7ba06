"""The prepared cache: round trips, outdated and broken entries, full disks."""

import errno
import json
import logging
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import blosc2
import numpy as np
import pytest
from reader_contract import ReaderContract, assert_same_case

from dosewright.core import Beam, CaseError, Grid, PatientCase, StorageError
from dosewright.io.openkbp import OpenKBPReader
from dosewright.io.prepared import CachedReader, PreparedReader, read_case, stored_fingerprint, write_case
from fake_readers import MemoryReader

MILLIGRAY = 1e-3


def small(case_id: str, *, seed: int = 0) -> PatientCase:
    rng = np.random.default_rng(seed)
    shape = (6, 7, 9)
    body = np.zeros(shape, bool)
    body[1:5, 1:6, 1:8] = True
    target = np.zeros(shape, bool)
    target[2:4, 2:4, 3:6] = True
    return PatientCase(
        case_id=case_id,
        grid=Grid(shape, (2.0, 3.0, 4.0), (-7.5, 1.25, 100.0)),
        ct_hu=rng.integers(-1000, 3000, shape).astype(np.int16),
        body=body,
        structures={"PTV_High": target, "Cord_rand": rng.random(shape) < 0.3},
        prescription_gy={"PTV_High": 66.5},
        dose_gy=(rng.uniform(0, 75, shape) * body).astype(np.float32),
        dose_mask=body & (rng.random(shape) < 0.8),
    )


class TestPreparedReader(ReaderContract):
    def make(self, folder: Path) -> PreparedReader:
        if not list(folder.iterdir()):
            for number in (1, 2, 3):
                write_case(folder / f"pt_{number}.case", small(f"pt_{number}"), f"version 1 of {number}")
        return PreparedReader(folder)

    def changed(self, folder: Path) -> PreparedReader:
        write_case(folder / "pt_1.case", small("pt_1", seed=1), "version 2 of 1")
        return PreparedReader(folder)


class TestCachedReader(ReaderContract):
    def make(self, folder: Path) -> CachedReader:
        return CachedReader(MemoryReader([small("pt_2", seed=2), small("pt_1")]), folder)

    def changed(self, folder: Path) -> CachedReader:
        reader = self.make(folder)
        assert isinstance(reader.source, MemoryReader)
        reader.source.versions["pt_2"] = 2
        return reader


def test_a_case_comes_back_as_it_was(tmp_path: Path, case: PatientCase) -> None:
    full = replace(
        case,
        dose_mask=case.body & (np.arange(24) > 5),
        isocenter_xyz_mm=(1.5, -2.25, 30.0),
        technique="VMAT",
        site="Lung",
        fractions=20,
        beams=(Beam(0.5, 10.0), Beam(180.0)),
    )
    write_case(tmp_path / "new" / "case_1.case", full)
    assert_same_case(read_case(tmp_path / "new" / "case_1.case"), full, dose_tolerance_gy=MILLIGRAY)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["case_1.case"]  # no temporary left


def test_a_proton_case_comes_back(tmp_path: Path, case: PatientCase) -> None:
    protons = replace(case, technique="proton", beams=(Beam(90.0, 5.0, "proton"),))
    write_case(tmp_path / "a.case", protons)
    assert_same_case(read_case(tmp_path / "a.case"), protons, dose_tolerance_gy=MILLIGRAY)


def test_what_a_case_lacks_stays_absent(tmp_path: Path, case: PatientCase) -> None:
    bare = replace(case, dose_gy=None, dose_mask=None, beams=())
    write_case(tmp_path / "a.case", bare)
    assert_same_case(read_case(tmp_path / "a.case"), bare)
    nothing = replace(case, dose_gy=np.zeros(case.grid.shape_zyx, np.float32))
    write_case(tmp_path / "b.case", nothing)
    assert_same_case(read_case(tmp_path / "b.case"), nothing)


@pytest.mark.parametrize("highest_gy", [0.5, 70.0, 131.0])
def test_dose_is_kept_to_a_milligray(tmp_path: Path, case: PatientCase, highest_gy: float) -> None:
    dose = np.random.default_rng(0).uniform(0, highest_gy, case.grid.shape_zyx).astype(np.float32)
    write_case(tmp_path / "a.case", case.with_dose(dose))
    back = read_case(tmp_path / "a.case").dose_gy
    assert back is not None
    step_gy = highest_gy / 65535
    assert float(np.abs(back - dose).max()) == pytest.approx(step_gy / 2, rel=0.05)
    assert step_gy / 2 <= MILLIGRAY
    assert back.max() == pytest.approx(dose.max(), rel=1e-6)


@pytest.mark.parametrize("count", [13, 14, 15, 30, 31, 62])  # around the widths of the packed bits, body and mask apart
def test_many_structures_come_back(tmp_path: Path, case: PatientCase, count: int) -> None:
    rng = np.random.default_rng(count)
    masks = {f"Organ{i}": rng.random(case.grid.shape_zyx) < 0.02 for i in range(count - 1)}
    many = replace(
        case,
        structures={"PTV_High": case.structures["PTV_High"], **masks},
        prescription_gy={"PTV_High": 70.0},
        dose_mask=case.body,
    )
    write_case(tmp_path / "a.case", many)
    assert_same_case(read_case(tmp_path / "a.case"), many, dose_tolerance_gy=MILLIGRAY)


def test_more_structures_than_bits_are_refused(tmp_path: Path, case: PatientCase) -> None:
    masks = {f"PTV{i}": case.body for i in range(63)}
    with pytest.raises(CaseError, match=r"a\.case: structures must be at most 62; got 63"):
        write_case(tmp_path / "a.case", replace(case, structures=masks, prescription_gy={"PTV0": 70.0}))
    assert list(tmp_path.iterdir()) == []


def test_a_real_patient_comes_back(openkbp_root: Path, tmp_path: Path) -> None:
    source = OpenKBPReader(openkbp_root, "validation")
    case_id = source.case_ids[0]
    case = CachedReader(source, tmp_path).read(case_id)
    assert_same_case(case, source.read(case_id), dose_tolerance_gy=MILLIGRAY)
    assert_same_case(PreparedReader(tmp_path).read(case_id), case)


def test_a_second_read_takes_the_cache_and_a_changed_source_renews_it(tmp_path: Path) -> None:
    source = MemoryReader([small("pt_1"), small("pt_2")])
    reader = CachedReader(source, tmp_path)
    for _ in range(3):
        reader.read("pt_1")
        reader.read("pt_2")
    assert source.reads == ["pt_1", "pt_2"]
    source.cases["pt_1"], source.versions["pt_1"] = small("pt_1", seed=9), 2
    assert not reader.is_fresh("pt_1")
    assert_same_case(reader.read("pt_1"), small("pt_1", seed=9), dose_tolerance_gy=MILLIGRAY)
    assert reader.is_fresh("pt_1")
    assert source.reads == ["pt_1", "pt_2", "pt_1"]


def test_a_source_that_changes_while_read_leaves_the_entry_outdated(tmp_path: Path) -> None:
    class Changing(MemoryReader):
        def read(self, case_id: str) -> PatientCase:
            self.versions[case_id] += 1
            return super().read(case_id)

    reader = CachedReader(Changing([small("pt_1")]), tmp_path)
    reader.read("pt_1")
    assert stored_fingerprint(reader.path("pt_1")) == "pt_1 version 1"
    assert not reader.is_fresh("pt_1")


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def flip_a_bit(path: Path) -> None:
    """Change one byte of the CT, leaving the directory and the header of the file as they are."""
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo("ct")
    data[entry.header_offset + 30 + len("ct") + entry.file_size // 2] ^= 1
    path.write_bytes(bytes(data))


def rewrite(path: Path, **entries: bytes | None) -> None:
    """Replace entries (None leaves one out), with valid checksums."""
    with zipfile.ZipFile(path) as archive:
        content: dict[str, bytes | None] = {name: archive.read(name) for name in archive.namelist()}
    content |= {name.replace("__", "."): data for name, data in entries.items()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            if data is not None:
                archive.writestr(name, data)


def header(path: Path, **changes: object) -> bytes:
    with zipfile.ZipFile(path) as archive:
        values = json.loads(archive.read("case.json")) | changes
    return json.dumps({key: value for key, value in values.items() if value != "leave out"}).encode()


def frame(shape: tuple[int, ...], dtype: type = np.int16) -> bytes:
    return bytes(blosc2.zeros(shape, dtype=dtype).to_cframe())


def more_boxes_than_bits(path: Path) -> None:
    box = [[0, 6], [0, 7], [0, 9]]
    rewrite(path, case__json=header(path, boxes={f"zHelper{i}": box for i in range(20)} | {"#body": box}))


BREAKAGES = {
    "truncated": (truncate, "not a zip file"),
    "one bit": (flip_a_bit, "Bad CRC-32 for file 'ct'"),
    "empty": (lambda path: path.write_bytes(b""), "not a zip file"),
    "no header": (lambda path: rewrite(path, case__json=None), "no item named"),
    "broken header": (lambda path: rewrite(path, case__json=b"{"), "Expecting property name"),
    "binary header": (lambda path: rewrite(path, case__json=b"\xff\xfe\xfd"), "codec can't decode|truncated data"),
    "header of another kind": (lambda path: rewrite(path, case__json=b"[]"), r"case\.json must be an object; got \[\]"),
    "older format": (lambda path: rewrite(path, case__json=header(path, format=0)), "format must be 1; prepare again"),
    "no grid": (lambda path: rewrite(path, case__json=header(path, shape_zyx="leave out")), "shape_zyx"),
    "wrong grid": (lambda path: rewrite(path, case__json=header(path, shape_zyx=[6, 7, 8])), r"shape \(6, 7, 8\)"),
    "no masks": (lambda path: rewrite(path, masks=None), "'masks'"),
    "not a frame": (lambda path: rewrite(path, ct=b"junk" * 100), "must be a whole prepared case"),
    "frame of another shape": (lambda path: rewrite(path, ct=frame((6, 7))), r"ct must have shape \(6, 7, 9\)"),
    "frame of another type": (
        lambda path: rewrite(path, ct=frame((6, 7, 9), np.float64)),
        r"ct must have shape .* and type int16; got .*'float64'",
    ),
    "frame that unpacks to 128 GB": (
        lambda path: rewrite(path, dose=frame((4096, 4096, 4096), np.uint16)),
        r"dose must have shape \(6, 7, 9\) and type uint16; got \(\(4096, 4096, 4096\), 'uint16'\)",
    ),
    "grid and frame of 128 GB": (
        lambda path: rewrite(
            path, case__json=header(path, shape_zyx=[4096] * 3), ct=frame((4096, 4096, 4096), np.int16)
        ),
        "ct must unpack to at most 2000000000 bytes; got 137438953472",
    ),
    "more masks than bits": (more_boxes_than_bits, "must be a whole prepared case"),
}


@pytest.mark.parametrize("kind", BREAKAGES)
def test_a_broken_entry_is_an_error_and_prepared_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    damage, reason = BREAKAGES[kind]
    source = MemoryReader([small("pt_1")])
    cached = CachedReader(source, tmp_path)
    cached.read("pt_1")
    damage(cached.path("pt_1"))
    with pytest.raises(CaseError, match=rf"^{re.escape(str(cached.path('pt_1')))}: .*({reason})"):
        PreparedReader(tmp_path).read("pt_1")
    with caplog.at_level(logging.WARNING):
        assert_same_case(cached.read("pt_1"), small("pt_1"), dose_tolerance_gy=MILLIGRAY)
    assert source.reads == ["pt_1", "pt_1"]
    assert_same_case(PreparedReader(tmp_path).read("pt_1"), cached.read("pt_1"))


def test_an_oversized_entry_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "pt_1.case"
    write_case(path, small("pt_1"), "version 1")
    with zipfile.ZipFile(path) as archive:
        size = archive.getinfo("case.json").file_size
    monkeypatch.setattr("dosewright.io.case_archive.MAX_BYTES", size - 1)
    with pytest.raises(CaseError, match=rf"case\.json must be at most {size - 1} bytes; got {size}"):
        read_case(path)
    assert stored_fingerprint(path) is None


def test_recovery_is_told_once_with_the_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cached = CachedReader(MemoryReader([small("pt_1")]), tmp_path)
    cached.read("pt_1")
    flip_a_bit(cached.path("pt_1"))
    assert cached.is_fresh("pt_1")  # the header alone looks right
    assert not cached.is_fresh("pt_1", every_byte=True)
    cached.read("pt_1")
    assert cached.is_fresh("pt_1", every_byte=True)
    cached.read("pt_1")
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert re.search(r"pt_1\.case: file must be a whole prepared case; .*it is prepared again$", caplog.messages[0])


def test_a_missing_entry_is_not_fresh(tmp_path: Path) -> None:
    cached = CachedReader(MemoryReader([small("pt_1")]), tmp_path / "new")
    assert not cached.is_fresh("pt_1")
    assert not cached.is_fresh("pt_1", every_byte=True)
    assert stored_fingerprint(cached.path("pt_1")) is None


def test_a_source_that_fails_leaves_the_old_entry(tmp_path: Path) -> None:
    source = MemoryReader([small("pt_1")])
    cached = CachedReader(source, tmp_path)
    cached.read("pt_1")
    source.versions["pt_1"], source.broken = 2, {"pt_1"}
    with pytest.raises(CaseError, match="case must be readable; got 'pt_1'"):
        cached.read("pt_1")
    assert stored_fingerprint(cached.path("pt_1")) == "pt_1 version 1"
    assert_same_case(read_case(cached.path("pt_1")), small("pt_1"), dose_tolerance_gy=MILLIGRAY)


@pytest.mark.parametrize("step", ["zipfile.ZipFile.writestr", "os.fsync"])
def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    source = MemoryReader([small("pt_1"), small("pt_2")])
    cached = CachedReader(source, tmp_path)
    cached.read("pt_1")
    cached.read("pt_2")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    source.versions["pt_1"] = 2

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(step, full)
    with pytest.raises(StorageError, match=r"pt_1\.case: no space left on the disk \([0-9]+ MB free\)"):
        cached.read("pt_1")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert cached.read("pt_2").case_id == "pt_2"


def test_the_prepared_folder_must_exist_and_names_must_fit(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match=r"none: folder must be a folder of prepared cases; got 'none'"):
        PreparedReader(tmp_path / "none")
    write_case(tmp_path / "pt_9.case", small("pt_1"))
    with pytest.raises(CaseError, match=r"pt_9\.case: case_id must be the name of its file; got 'pt_1'"):
        PreparedReader(tmp_path).read("pt_9")


def test_temporary_and_other_files_are_not_cases(tmp_path: Path) -> None:
    write_case(tmp_path / "pt_1.case", small("pt_1"))
    (tmp_path / ".pt_2-abc.part.case").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("")
    assert list(PreparedReader(tmp_path).case_ids) == ["pt_1"]
