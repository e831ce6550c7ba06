"""Plans of the GDP-HMM challenge as published: `meta_data.csv`, two JSON files, and an NPZ per plan."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import final

from dosewright.core import CaseError, InputError, PatientCase
from dosewright.io.gdp_hmm.build import build_case
from dosewright.io.gdp_hmm.content import PlanContent, content_of
from dosewright.io.gdp_hmm.metadata import (
    SITES,
    PlanRow,
    TargetEntry,
    read_meta_data,
    read_objective_structures,
    read_ptv_dict,
)
from dosewright.io.gdp_hmm.names import our_names
from dosewright.io.gdp_hmm.npz import as_case_error, read_object
from dosewright.io.reader import AbstractReader

log = logging.getLogger(__name__)

READER_VERSION = 1  # raise when the same files give another case; caches are keyed by it
SPLITS: Mapping[str, str] = {"train": "train", "validation": "valid", "test": "test"}


@final
class GdpHmmReader(AbstractReader):
    """Plans of one split whose files are there, in the order of `meta_data.csv`.

    What a file does not say is assumed and told: by `notes`, by `dosewright prepare`, and in the log.

    Args:
        root: Folder with the NPZ files, as published (`GDP-HMM_Challenge/HaN/train/…`), from any level on, or flat.
        split: "train", "validation", "test", or None for all plans of the table.
        split_by: Column that says the split: `dev_split` keeps 148 training plans for validation and calls the 356 of
            the challenge's validation phase, published without dose, test; `phase` knows train and valid alone.
        site: "HeadNeck" or "Lung"; None for both.
        scale_to_d97: Scale doses so that D97 of the target is the prescription, as metric 1 does with the reference.
        meta_data: None: `meta_data.csv` in the root.
        ptv_dict: None: `PTV_DICT.json` in the root.
        pat_obj_dict: None: `Pat_Obj_DICT.json` in the root if it is there.

    Raises:
        CaseError: If a setting is unknown, a table broken, or no plan of the split has its file under the root.
    """

    def __init__(
        self,
        root: str | Path,
        split: str | None = "train",
        split_by: str = "dev_split",
        site: str | None = None,
        scale_to_d97: bool = False,
        meta_data: str | Path | None = None,
        ptv_dict: str | Path | None = None,
        pat_obj_dict: str | Path | None = None,
    ) -> None:
        if split is not None and split not in SPLITS:
            raise CaseError(f"must be one of {tuple(SPLITS)}", argument="split", value=split)
        if split_by not in ("dev_split", "phase"):
            raise CaseError("must be dev_split or phase", argument="split_by", value=split_by)
        if site is not None and site not in SITES.values():
            raise CaseError(f"must be null or one of {tuple(SITES.values())}", argument="site", value=site)
        self.root, self.split, self.scale_to_d97 = Path(root).expanduser(), split, scale_to_d97
        self.meta_data = self._table(meta_data, "meta_data.csv")
        self.ptv_dict = self._table(ptv_dict, "PTV_DICT.json")
        self._targets = read_ptv_dict(self.ptv_dict)
        rows = [row for row in read_meta_data(self.meta_data) if site in (None, row.site)]
        wanted = [row for row in rows if split is None or getattr(row, split_by) == SPLITS[split]]
        self._rows = {row.plan: row for row in wanted}
        self._paths = {row.plan: path for row in wanted if (path := self._find(row)) is not None}
        if not self._paths:
            rule = f"must hold the file of a plan of split {split!r} ({len(wanted)} in {self.meta_data.name})"
            raise CaseError(rule, argument="data.root", value="none", path=self.root)
        if self.absent:
            log.info("%d of %d plans have no file under %s", len(self.absent), len(wanted), self.root)
        objectives = self._table(pat_obj_dict, "Pat_Obj_DICT.json")
        there = pat_obj_dict is not None or objectives.is_file()
        self._objectives = read_objective_structures(objectives) if there else {}
        self._notes: dict[str, tuple[str, ...]] = {}

    @property
    def case_ids(self) -> Sequence[str]:
        """Plans as their files are called, `<PID>+<PlanID>+<suffix>`."""
        return tuple(self._paths)

    @property
    def absent(self) -> tuple[str, ...]:
        """Plans of the split whose files are not there."""
        return tuple(plan for plan in self._rows if plan not in self._paths)

    def read(self, case_id: str) -> PatientCase:
        """Return one plan; see `AbstractReader.read`."""
        path, row = self._path(case_id), self._rows[case_id]
        try:
            content = content_of(read_object(path))
            case = build_case(row, content, self._targets_of(row), scale_to_d97=self.scale_to_d97)
        except InputError as error:
            raise as_case_error(error, path) from error
        self._notes[case_id] = tuple(content.notes)
        for note in content.notes:
            log.info("%s: %s", case_id, note)
        return case

    def read_content(self, case_id: str) -> PlanContent:
        """Return what the plan's file holds, plates included, under the challenge's names.

        Raises:
            CaseError: If the plan is unknown or its file broken.
        """
        path = self._path(case_id)
        try:
            return content_of(read_object(path))
        except InputError as error:
            raise as_case_error(error, path) from error

    def notes(self, case_id: str) -> tuple[str, ...]:
        """Return what had to be assumed of a plan when it was read last; () before."""
        return self._notes.get(case_id, ())

    def objective_structures(self, case_id: str) -> tuple[str, ...]:
        """Return the structures the plan was optimised with, under our names; () where `Pat_Obj_DICT.json` is silent.

        Raises:
            CaseError: If the plan is unknown.
        """
        self._path(case_id)
        row = self._rows[case_id]
        plans = self._objectives.get(row.pid, {})
        names = next((plans[key] for key in (row.plan, row.plan_id, "") if key in plans), ())
        plain = {"PTV": "PTV"}
        for entry in self._targets_of(row):
            plain |= {n: entry.level for n in (entry.struct_name, entry.opt_name.removesuffix("OPT")) if n not in plain}
        found = our_names(name for name in names if name not in plain)
        return tuple(plain[name] if name in plain else found[name][0] for name in names)

    def fingerprint(self, case_id: str) -> str:
        """Return the reader's version and settings, the file's size and time, and the patient's targets.

        Raises:
            CaseError: If the plan is unknown or its file has gone.
        """
        path, row = self._path(case_id), self._rows[case_id]
        try:
            stat = path.stat()
        except OSError as error:
            raise CaseError(f"cannot be read: {error.strerror}", argument="npz", path=path) from error
        told = f"{path.name}:{stat.st_size}:{stat.st_mtime_ns};{row.site};{row.is_vmat};{self._targets.get(row.pid)}"
        return f"reader {READER_VERSION};scaled {self.scale_to_d97};{told}"

    def _path(self, case_id: str) -> Path:
        if case_id not in self._paths:
            rule = f"must be one of {len(self._paths)} plans of {self.meta_data.name} with a file"
            raise CaseError(rule, argument="case_id", value=case_id, path=self.root)
        return self._paths[case_id]

    def _targets_of(self, row: PlanRow) -> tuple[TargetEntry, ...]:
        for pid in (row.pid, row.pid.zfill(3)):  # the challenge's own loader fills short ones up, too
            if pid in self._targets:
                return self._targets[pid]
        raise CaseError(f"must hold patient {row.pid}", argument="PTV_DICT", value="none", path=self.ptv_dict)

    def _find(self, row: PlanRow) -> Path | None:
        """Return the plan's file: the longest end of its published path that is there."""
        ends = (row.npz_path[at:] for at in range(len(row.npz_path)))
        return next((path for path in (self.root.joinpath(*end) for end in ends) if path.is_file()), None)

    def _table(self, given: str | Path | None, name: str) -> Path:
        return self.root / name if given is None else Path(given).expanduser()
