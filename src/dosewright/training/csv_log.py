"""Metrics as CSV that go on where they were when a run is taken up again."""

import csv
import io
from pathlib import Path
from typing import Any

from lightning_fabric.loggers.logger import rank_zero_experiment
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter

from dosewright.core.files import atomic_write


class ResumingCSVLogger(CSVLogger):
    """Lightning's CSV logger, without its habit of deleting what an interrupted run has written."""

    @property
    @rank_zero_experiment
    def experiment(self) -> "ResumingWriter":
        """The writer, made on first use."""
        if self._experiment is None:
            Path(self.log_dir).mkdir(parents=True, exist_ok=True)
            self._experiment = ResumingWriter(self.log_dir)
        return self._experiment  # type: ignore[return-value]


class ResumingWriter(ExperimentWriter):
    """Keeps the rows of earlier starts, up to the step at which this one begins to log."""

    def __init__(self, log_dir: str) -> None:
        super().__init__(log_dir)
        self._begun = False

    def log_metrics(self, metrics_dict: dict[str, Any], step: int | None = None) -> None:
        """Record metrics; before the first ones, drop the rows that this run is going to write again."""
        if not self._begun:
            self._begun = True
            self._keep_rows_before(step or 0)
        super().log_metrics(metrics_dict, step)

    def _check_log_dir_exists(self) -> None:
        """Lightning's writer deletes the old file here."""

    def _keep_rows_before(self, step: int) -> None:
        path = Path(self.metrics_file_path)
        if not path.is_file():
            return
        with path.open(newline="") as stream:
            rows = [
                row for row in csv.DictReader(stream) if (row.get("step") or "").isdigit() and int(row["step"]) < step
            ]
        if not rows:
            path.unlink()
            return
        self.metrics_keys = list(rows[0])
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.metrics_keys)
        writer.writeheader()
        writer.writerows(rows)
        atomic_write(path, text.getvalue())
