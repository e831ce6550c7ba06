"""One thing wrong with a submission."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Problem:
    """A rule a submission breaks.

    Args:
        file: Entry of the archive, or the archive itself.
        rule: What must hold, and why.
        row: Line of the file, the header being row 1; None when the whole file is meant.
        value: What was found, as text; empty when there is nothing to show.
        severity: "error" when the challenge would refuse or misread the submission, else "warning".

    >>> print(Problem("pt_1.csv", "dose must not be negative", row=7, value="-0.5"))
    pt_1.csv, row 7: dose must not be negative; got -0.5
    """

    file: str
    rule: str
    row: int | None = None
    value: str = ""
    severity: Severity = "error"

    def __str__(self) -> str:
        where = self.file if self.row is None else f"{self.file}, row {self.row}"
        return f"{where}: {self.rule}" + (f"; got {self.value}" if self.value else "")
