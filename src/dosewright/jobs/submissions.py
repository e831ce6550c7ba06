"""Challenge submissions from a folder of predictions: what `dosewright predict submission=…` can write."""

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from dosewright.core import SubmissionError
from dosewright.core.types import FloatVolume, Mask, Shape
from dosewright.io.predictions import read_prediction
from dosewright.io.reader import AbstractReader

log = logging.getLogger(__name__)
FILE = "submission.zip"


def submit_openkbp(reader: AbstractReader, out: Path) -> None:
    """Write and check OpenKBP's zip of the predictions in `out`.

    Raises:
        SubmissionError: If the challenge would refuse it.
    """
    from dosewright.submission.openkbp import write_submission
    from dosewright.submission.validate_openkbp import require_valid

    masks: dict[str, Mask] = {}

    def predictions() -> Iterator[tuple[str, FloatVolume]]:
        for case_id in reader.case_ids:
            case = reader.read(case_id)
            masks[case_id] = case.scored_mask
            yield case_id, read_prediction(out, case)

    path = write_submission(predictions(), out / FILE)
    for problem in require_valid(path, reader.case_ids, masks):
        log.warning("%s", problem)
    log.info("submission in %s: %d patients, valid", path, len(reader.case_ids))


def submit_gdp_hmm(reader: AbstractReader, out: Path) -> None:
    """Write and check GDP-HMM's zip of the predictions in `out`.

    Raises:
        SubmissionError: If the challenge would refuse it, or plans of the split have no file.
    """
    from dosewright.submission.gdp_hmm import write_submission
    from dosewright.submission.validate_gdp_hmm import require_valid

    absent = tuple(getattr(reader, "absent", ()))
    if absent:
        rule = f"must have the file of every plan of the split; {len(absent)} are absent"
        raise SubmissionError(rule, argument="data.root", value=absent[:3])
    shapes: dict[str, Shape] = {}

    def predictions() -> Iterator[tuple[str, FloatVolume]]:
        for case_id in reader.case_ids:
            case = reader.read(case_id)
            shapes[case_id] = case.grid.shape_zyx
            yield case_id, read_prediction(out, case)

    path = write_submission(predictions(), out / FILE)
    for problem in require_valid(path, shapes):
        log.warning("%s", problem)
    log.info("submission in %s: %d plans, valid", path, len(shapes))


#: `submission=` → what writes it.
SUBMISSIONS: Mapping[str, Callable[[AbstractReader, Path], None]] = {
    "openkbp": submit_openkbp,
    "gdp_hmm": submit_gdp_hmm,
}
