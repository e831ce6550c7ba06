import csv
from pathlib import Path

from dosewright.training.csv_log import ResumingCSVLogger


def start(folder: Path) -> ResumingCSVLogger:
    return ResumingCSVLogger(folder, name="", version="logs")


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "logs" / "metrics.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_second_start_keeps_what_the_first_wrote(tmp_path: Path):
    first = start(tmp_path)
    for step in range(4):
        first.log_metrics({"loss": 10.0 - step}, step=step)
    first.save()
    second = start(tmp_path)
    second.log_metrics({"loss": -2.0}, step=2)  # resumed from the end of step 1
    second.log_metrics({"loss": -3.0, "score": 5.0}, step=3)
    second.save()
    assert [(row["step"], row["loss"], row["score"]) for row in rows(tmp_path)] == [
        ("0", "10.0", ""), ("1", "9.0", ""), ("2", "-2.0", ""), ("3", "-3.0", "5.0")
    ]  # fmt: skip


def test_a_start_from_nothing_replaces_the_file(tmp_path: Path):
    for value in (1.0, 2.0):
        logger = start(tmp_path)
        logger.log_metrics({"loss": value}, step=0)
        logger.save()
    assert [row["loss"] for row in rows(tmp_path)] == ["2.0"]


def test_a_row_cut_short_by_a_kill_is_dropped(tmp_path: Path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "metrics.csv").write_text("loss,step\n1.0,0\n2.0")
    logger = start(tmp_path)
    logger.log_metrics({"loss": 3.0}, step=1)
    logger.save()
    assert [(row["loss"], row["step"]) for row in rows(tmp_path)] == [("1.0", "0"), ("3.0", "1")]


def test_a_start_that_logs_nothing_deletes_nothing(tmp_path: Path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "metrics.csv").write_text("loss,step\n1.0,0\n")
    logger = start(tmp_path)
    logger.log_hyperparams({"lr": 0.1})
    logger.finalize("success")
    assert (tmp_path / "logs" / "metrics.csv").read_text() == "loss,step\n1.0,0\n"
    assert (tmp_path / "logs" / "hparams.yaml").read_text() == "lr: 0.1\n"
