"""Patients as planning systems export them: CT, RTSTRUCT, RTPLAN and RTDOSE."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import final

from dosewright.core import CaseError, InputError, PatientCase
from dosewright.io.dicom.read_case import build_case
from dosewright.io.dicom.read_choice import Chain, checked_choices, choose_chain
from dosewright.io.dicom.read_links import CaseFiles, link_cases, unlinked
from dosewright.io.dicom.read_prescription import checked_prescription
from dosewright.io.dicom.read_report import DicomReport
from dosewright.io.dicom.read_scan import scan_folder
from dosewright.io.dicom.read_settings import ReadSettings, checked_spacing
from dosewright.io.reader import AbstractReader
from dosewright.io.tg263 import read_overrides

log = logging.getLogger(__name__)

READER_VERSION = 1  # raise when the same files give another case; caches are keyed by it
SPLITS = ("train", "validation", "test")


@final
class DicomReader(AbstractReader):
    """DICOM-RT patients of a folder of any layout, sorted out by UIDs (`read_links`).

    A case is a CT series with a structure set; its id is `ct_` and twelve digits of the SHA-256 of the series' UID, so
    that it names no patient and stays the same wherever the files lie.

    Args:
        root: The folder. When it has subfolders `train`, `validation` or `test`, these are the splits; otherwise all
            cases are of the split "test".
        split: "train", "validation" or "test".
        names: CSV of the user's own structure names, source → TG-263 (see `io.tg263`); None for none.
        accept_fuzzy: Whether guessed structure names count.
        unmatched: "leave_out" leaves out structures without a known name, "keep" keeps them under their own.
        prescription: Target → total Gy, for plans that do not say it; the source's own names will do.
        grid: "ct" or "dose": which grid the case is on.
        spacing_xyz_mm: Voxel size in mm; None for that of the grid.
        choose: "structure_set", "plan" or "dose" → label, UID or file, for cases with several.
        plan: "auto", "require" or "ignore".
        dose: "auto", "require" or "ignore".
        technique: "IMRT", "VMAT" or "proton"; None for the plan's, and needed without one.
        fractions: Number of fractions; None for the plan's, and needed without one.
        site: Anatomical site; None for the CT's body part where it is one of the known sites, else "Unknown".
        arc_spacing_deg: An arc becomes a beam every so many degrees or less.
        incomplete_ct: Whether a CT may lack slices that its structure set refers to, and the grid reach beyond it.
        check_dose: Whether a dose is refused that is not half to twice the prescription on average in the target.
        keep_patient_id: Whether case ids start with the patient's ID.
        max_memory_gb: Most memory for a case's volumes.

    Raises:
        CaseError: If the folder, or the split's, is missing or holds no CT with structures.
        InputError: If a setting is out of its range.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "test",
        *,
        names: str | Path | None = None,
        accept_fuzzy: bool = False,
        unmatched: str = "leave_out",
        prescription: Mapping[str, float | int] | None = None,
        grid: str = "ct",
        spacing_xyz_mm: Sequence[float | int] | None = None,
        choose: Mapping[str, str] | None = None,
        plan: str = "auto",
        dose: str = "auto",
        technique: str | None = None,
        fractions: int | None = None,
        site: str | None = None,
        arc_spacing_deg: float | int = 20.0,
        incomplete_ct: bool = False,
        check_dose: bool = True,
        keep_patient_id: bool = False,
        max_memory_gb: float | int = 4.0,
    ) -> None:
        self.settings = ReadSettings(
            overrides={} if names is None else read_overrides(Path(names).expanduser()),
            accept_fuzzy=accept_fuzzy,
            unmatched=unmatched,
            prescription_gy=checked_prescription(prescription),
            grid=grid,
            spacing_xyz_mm=checked_spacing(spacing_xyz_mm),
            plan=plan,
            dose=dose,
            choices=checked_choices(choose),
            technique=technique,
            fractions=fractions,
            site=site,
            arc_spacing_deg=arc_spacing_deg,
            incomplete_ct=incomplete_ct,
            check_dose=check_dose,
            max_memory_gb=max_memory_gb,
        )
        self.root = _split_folder(Path(root).expanduser(), split)
        scan = scan_folder(self.root, keep_patient_id)
        self.ignored = dict(scan.ignored)
        self._files = {files.case_id: files for files in link_cases(scan, "data.root")}
        self.unlinked = unlinked(scan, self._files.values())
        for path in self.unlinked:
            log.warning("%s belongs to no CT series that is here", path.relative_to(self.root))

    @property
    def case_ids(self) -> Sequence[str]:
        """Identifiers in alphabetical order."""
        return tuple(self._files)

    def read(self, case_id: str) -> PatientCase:
        """Return one case, and log what may be wrong with it; see `AbstractReader.read`."""
        case, report = self.read_with_report(case_id)
        for text in report.warnings:
            log.warning("%s: %s", case_id, text)
        return case

    def read_with_report(self, case_id: str) -> tuple[PatientCase, DicomReport]:
        """Return one case, and what it was made of.

        Raises:
            CaseError: See `AbstractReader.read`.
        """
        files, chain = self.chain(case_id)
        used = {
            "ct": [slice.path for slice in files.slices],
            "structure_set": [chain.structure_set.path],
            "plan": [] if chain.plan is None else [chain.plan.path],
            "dose": [dose.path for dose in chain.doses],
        }
        relative = {kind: [str(path.relative_to(self.root)) for path in paths] for kind, paths in used.items()}
        report = DicomReport(case_id, relative)
        try:
            return build_case(files, chain, self.settings, report), report
        except InputError as error:
            if isinstance(error, CaseError) and error.path is not None:
                raise
            raise CaseError.located(error, error.path or chain.structure_set.path) from error

    def chain(self, case_id: str) -> tuple[CaseFiles, Chain]:
        """Return the files of a case: its CT and all that may belong to it, and what it is read from.

        Raises:
            CaseError: If the case is unknown, several files fit, or one beside them is broken.
        """
        if case_id not in self._files:
            rule = f"must be one of {len(self)} cases such as {self.case_ids[0]}"
            raise CaseError(rule, argument="case_id", value=case_id)
        files = self._files[case_id]
        settings = self.settings
        return files, choose_chain(files, settings.choices, self.root, settings.plan, settings.dose)

    def source_files(self, case_id: str) -> tuple[Path, ...]:
        """Return the CT slices, the structure set and the plan of a case: what new objects of its study refer to.

        Raises:
            CaseError: See `chain`.
        """
        files, chain = self.chain(case_id)
        plans = () if chain.plan is None else (chain.plan,)
        return tuple(instance.path for instance in (*files.slices, chain.structure_set, *plans))

    def fingerprint(self, case_id: str) -> str:
        """Return the reader's version, its settings, and UIDs, sizes and modification times of the case's files.

        Raises:
            CaseError: See `chain`; or a file has gone.
        """
        files, chain = self.chain(case_id)
        plans = () if chain.plan is None else (chain.plan,)
        parts = [f"reader {READER_VERSION}", str(self.settings)]
        for instance in (*files.slices, chain.structure_set, *plans, *chain.doses):
            try:
                stats = instance.path.stat()
            except OSError as error:
                raise CaseError("must still be there", argument="file", path=instance.path) from error
            parts.append(f"{instance.uid}:{stats.st_size}:{stats.st_mtime_ns}")
        return ";".join(parts)


def _split_folder(root: Path, split: str) -> Path:
    if split not in SPLITS:
        raise CaseError(f"must be one of {SPLITS}", argument="split", value=split)
    divided = [name for name in SPLITS if (root / name).is_dir()]
    if divided and split not in divided:
        raise CaseError("must hold a folder of the split", argument="data.root", value=divided, path=root / split)
    if not divided and split != "test" and root.is_dir():
        rule = f'must hold a folder {split}: without such folders all cases are of the split "test"'
        raise CaseError(rule, argument="data.root", value="no folders of splits", path=root)
    return root / split if divided else root
