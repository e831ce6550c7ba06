import csv
import json
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from dosewright.core import InputError
from dosewright.jobs.summarize import run
from dosewright.jobs.summarize_figures import draw_learning_curves, draw_scores
from dosewright.jobs.summarize_records import SCORES, VALIDATION, summarize
from dosewright.jobs.summarize_run import BROKEN, FINISHED, UNFINISHED, TrainedRun, read_run
from dosewright.jobs.summarize_table import markdown
from dosewright.jobs.summarize_variants import differences
from tiny import config

STEPS = 10  # per epoch
BASE = {
    "model._target_": "dosewright.nets.two_stage.TwoStageNet",
    "model.conditioning": "adain",
    "optimizer.lr": 0.001,
    "module.draws.seed": 0,
    "seed": 0,
}


def write_run(
    folder: Path,
    name: str = "base",
    seed: int = 0,
    curve: tuple[tuple[float, float], ...] = ((5.0, 3.0), (3.0, 2.0), (3.5, 2.5)),
    seconds_per_epoch: float | None = 60.0,
    **recipe: Any,
) -> Path:
    """A finished training of one epoch per validation, as `dosewright train` leaves it."""
    whole = BASE | {"seed": seed, "module.draws.seed": seed} | {k.replace("__", "."): v for k, v in recipe.items()}
    (folder / "logs").mkdir(parents=True)
    (folder / "recipe.json").write_text(json.dumps(whole))
    rows = ["epoch,lr-AdamW,step,train/loss,val/dose_score,val/dvh_score"]
    for epoch, (dose, dvh) in enumerate(curve):
        first, last = STEPS * epoch, STEPS * (epoch + 1) - 1
        rows += [f",0.001,{first},,,", f"{epoch},,{last},,{dose},{dvh}", f"{epoch},,{last},{dose + 1},,"]
    (folder / "logs" / "metrics.csv").write_text("\n".join(rows) + "\n")
    write_weights(folder, {"experiment": name, "steps": STEPS * len(curve), "parameters": 1234})
    if seconds_per_epoch is not None:
        marks = [{"epoch": n, "step": STEPS * n, "seconds": seconds_per_epoch * n} for n in range(1, len(curve) + 1)]
        write_timing(folder, marks)
    return folder


def write_weights(folder: Path, notes: dict[str, Any]) -> None:
    save_file(
        {"w": np.zeros((3, 4)), "b": np.zeros(2)},
        folder / "model.safetensors",
        metadata={"dosewright": json.dumps({"notes": notes})},
    )


def write_timing(folder: Path, marks: list[dict[str, float]], first_step: int = 0) -> None:
    start = {"step": first_step, "device": "Xeon", "threads": 2, "processes": 1}
    (folder / "timing.json").write_text(json.dumps({"marks": marks, "starts": [start]}))


def write_scores(folder: Path, dose: float, dvh: float, **more: Any) -> None:
    scores = {"dose_score": dose, "dvh_score": dvh, "dose_score_sd": 0.5, "dvh_score_sd": 0.25, "n_patients": 33} | more
    (folder / "scores").mkdir()
    (folder / "scores" / "metrics.json").write_text(json.dumps(scores))


def summarized(tmp_path: Path, runs: object, *overrides: str) -> dict[str, Any]:
    listed = f"[{','.join(map(str, runs))}]" if isinstance(runs, list) else runs
    return run(config("summarize", f"runs={listed}", f"out={tmp_path / 'out'}", *overrides))


def by_name(runs: list[TrainedRun]) -> dict[str | None, TrainedRun]:
    return {one.name: one for one in runs}


def table_rows(text: str, heading: str) -> list[dict[str, str]]:
    """The Markdown table below a heading, as one dictionary per row."""
    below = text.partition(f"## {heading}\n")[2]
    lines = [line for line in below.partition("\n## ")[0].splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


def test_a_run_is_read_back(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", "two_stage", seed=3)
    write_scores(folder, 2.5, 1.5)
    (folder / "predictions").mkdir()
    (folder / "predictions" / "predict.json").write_text('{"seconds": {"p": 1.0, "q": 9.0, "r": 2.0}}')
    one = read_run(folder)
    assert (one.status, one.remarks, one.name, one.seed) == (FINISHED, (), "two_stage", 3)
    assert (one.steps, one.epochs, one.parameters, one.seconds, one.seconds_per_case) == (30, 3, 1234, 180.0, 2.0)
    assert [(v.epoch, v.step, v.dose_gy, v.dvh_gy, v.seconds) for v in one.curve] == [
        (1.0, 10, 5.0, 3.0, 60.0),
        (2.0, 20, 3.0, 2.0, 120.0),
        (3.0, 30, 3.5, 2.5, 180.0),
    ]
    assert (one.best, one.last) == (one.curve[1], one.curve[2])
    assert one.scores is not None
    assert (one.scores.dose_gy, one.scores.dose_sd_gy, one.scores.patients) == (2.5, 0.5, 33)
    assert one.timing is not None
    assert one.timing.devices == ("Xeon, 2 threads",)


def test_a_validation_after_training_counts_the_steps_done(tmp_path: Path) -> None:
    """Its row carries the number of steps, not the index of the last one, and an epoch that never began."""
    folder = write_run(tmp_path / "a")
    with (folder / "logs" / "metrics.csv").open("a") as stream:
        stream.write("3,,30,,2.0,1.0\n")
    last = read_run(folder).last
    assert last is not None
    assert (last.step, last.epoch, last.seconds, last.dose_gy) == (30, 3.0, 180.0, 2.0)


def test_weights_of_an_older_version_are_counted(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a")
    write_weights(folder, {"steps": 30})
    (folder / ".hydra").mkdir()
    (folder / ".hydra" / "config.yaml").write_text("model:\n  name: no\nname: direct\nout: x\n")
    one = read_run(folder)
    assert (one.parameters, one.name) == (14, "direct")


def test_seeds_of_one_variant_are_averaged(tmp_path: Path) -> None:
    for seed, (dose, dvh) in enumerate([(2.0, 1.0), (3.0, 1.5), (4.0, 2.0)]):
        write_scores(write_run(tmp_path / "runs" / f"seed={seed}", seed=seed), dose, dvh)
    write_scores(write_run(tmp_path / "runs" / "film", "film", model__conditioning="film"), 2.5, 1.25)
    done = summarized(tmp_path, tmp_path / "runs")
    assert done["ranked_by"] == SCORES
    best, base = done["variants"]
    assert (best["variant"], best["seeds"], best["dose_score_sd_over_seeds_gy"]) == ("film", [0], None)
    assert (base["variant"], sorted(base["seeds"]), base["runs"]) == ("base", [0, 1, 2], 3)
    assert (base["dose_score_gy"], base["dose_score_sd_over_seeds_gy"]) == (3.0, 1.0)
    assert (base["dvh_score_gy"], base["dvh_score_sd_over_seeds_gy"]) == (1.5, 0.5)
    assert base["training_seconds"] == 180.0
    text = (tmp_path / "out" / "summary.md").read_text()
    rows = table_rows(text, "Variants")
    assert [(row["variant"], row["dose score [Gy]"]) for row in rows] == [("film", "2.500"), ("base", "3.000 ± 1.000")]


def test_the_table_is_sorted_and_says_what_differs(tmp_path: Path) -> None:
    for name, dose, recipe in (
        ("slow", 3.0, {"optimizer__lr": 0.01}),
        ("base", 2.0, {}),
        ("film", 2.5, {"model__conditioning": "film"}),
    ):
        write_scores(write_run(tmp_path / "runs" / name, name, **recipe), dose, dose / 2)
    summarized(tmp_path, tmp_path / "runs")
    text = (tmp_path / "out" / "summary.md").read_text()
    rows = table_rows(text, "Runs")
    assert [(row["run"], row["differs in"]) for row in rows] == [
        ("1. base", "–"),
        ("2. film", "model.conditioning=film"),
        ("3. slow", "optimizer.lr=0.01"),
    ]
    assert rows[0] | {"run": ""} == {
        "run": "",
        "differs in": "–",
        "seed": "0",
        "steps": "30",
        "epochs": "3",
        "training": "3 min",
        "parameters": "1,234",
        "best [Gy]": "3.000 / 2.000",
        "at epoch": "2",
        "last [Gy]": "3.500 / 2.500",
        "dose score [Gy]": "2.000 ± 0.500",
        "DVH score [Gy]": "1.000 ± 0.250",
        "patients": "33",
    }
    assert "Where *differs in* says nothing: model.conditioning=adain, optimizer.lr=0.001." in text
    assert "Trained on: Xeon, 2 threads." in text
    assert "![learning curves](learning_curves.png)" in text
    assert "## Variants" not in text  # each is a run of its own
    with (tmp_path / "out" / "summary.csv").open(newline="") as stream:
        table = list(csv.DictReader(stream))
    assert [row["name"] for row in table] == ["base", "film", "slow"]
    assert [float(row["dose_score_gy"]) for row in table] == [2.0, 2.5, 3.0]
    stored = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert stored["runs"][2]["validations"][1]["dose_gy"] == 3.0


def test_scores_and_validations_are_not_mixed_in_one_order(tmp_path: Path) -> None:
    """One run was not evaluated: all are sorted by their last validation, though the other's score is lower."""
    write_scores(write_run(tmp_path / "runs" / "a", "a", curve=((9.0, 9.0), (8.0, 8.0))), 1.0, 1.0)
    write_run(tmp_path / "runs" / "b", "b", curve=((9.0, 9.0), (7.0, 7.0)))
    done = summarized(tmp_path, tmp_path / "runs")
    assert done["ranked_by"] == VALIDATION
    assert [one["name"] for one in done["runs"]] == ["b", "a"]
    assert "as not all finished runs were evaluated" in (tmp_path / "out" / "summary.md").read_text()


def test_what_is_broken_or_unfinished_is_listed_with_its_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_run(tmp_path / "runs" / "good", "good")
    for name in ("cut", "killed", "longer", "csv", "recipe"):
        write_run(tmp_path / "runs" / name, name)
    data = (tmp_path / "runs" / "cut" / "model.safetensors").read_bytes()
    (tmp_path / "runs" / "cut" / "model.safetensors").write_bytes(data[:20])
    (tmp_path / "runs" / "killed" / "model.safetensors").unlink()
    write_weights(tmp_path / "runs" / "longer", {"experiment": "longer", "steps": 20})
    (tmp_path / "runs" / "csv" / "logs" / "metrics.csv").write_text("epoch,step\n0,many\n")
    (tmp_path / "runs" / "recipe" / "recipe.json").write_text("{")
    failed = tmp_path / "runs" / "failed"
    failed.mkdir()
    log = ("INFO training failed into x", "ERROR failed: CaseError: case pt_1 must have a dose")
    (failed / "train.log").write_text("".join(f"2026-01-01 00:00:00 {line}\n" for line in log))
    with caplog.at_level(logging.WARNING):
        done = summarized(tmp_path, tmp_path / "runs")
    assert done["runs"][0]["name"] == "good"
    assert [variant["variant"] for variant in done["variants"]] == ["good"]
    told = {Path(one["folder"]).name: (one["status"], one["remarks"]) for one in done["runs"]}
    assert told["good"] == (FINISHED, "")
    assert told["killed"] == (UNFINISHED, "stopped, or still going on, after step 30")
    assert told["failed"] == (UNFINISHED, "failed: CaseError: case pt_1 must have a dose")
    assert told["longer"] == (UNFINISHED, "its weights are of step 20, but it went on to step 30")
    assert {name for name, (status, _) in told.items() if status == BROKEN} == {"cut", "csv", "recipe"}
    assert told["cut"][1].startswith("cut/model.safetensors cannot be read: ")
    assert told["csv"][1] == "logs/metrics.csv cannot be read: could not convert string to float: 'many'"
    assert told["recipe"][1].startswith("recipe/recipe.json cannot be read: ")
    text = (tmp_path / "out" / "summary.md").read_text()
    states = {row["run"].partition(" ")[2]: row["state"] for row in table_rows(text, "Runs")}
    assert (states["good"], states["killed"]) == ("–", UNFINISHED)
    assert f"{failed} is unfinished: failed: CaseError: case pt_1 must have a dose" in caplog.messages


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("model.safetensors", None, "must carry the metadata key `dosewright`"),
        ("logs/metrics.csv", "a,b\n1,2\n", "must have a column `step`"),
        ("recipe.json", "[]", "must hold an object, not a list"),
        ("timing.json", '{"marks": [], "starts": []}', "must hold at least one mark and one start"),
        ("timing.json", '{"starts": []}', "timing.json cannot be read: lacks 'marks'"),
        ("scores/metrics.json", "{}", "scores/metrics.json cannot be read: lacks 'dose_score'"),
    ],
)
def test_a_file_that_is_not_what_it_says_is_told(tmp_path: Path, file: str, content: str | None, said: str) -> None:
    folder = write_run(tmp_path / "a")
    write_scores(folder, 2.0, 1.0)
    if content is None:
        save_file({"w": np.zeros(2)}, folder / file)
    else:
        (folder / file).write_text(content)
    one = read_run(folder)
    assert said in one.remarks[0]
    its_own = file in ("model.safetensors", "logs/metrics.csv", "recipe.json")
    assert one.status == (BROKEN if its_own else FINISHED)


def test_an_error_of_an_earlier_start_is_forgotten(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a")
    (folder / "model.safetensors").unlink()
    (folder / "train.log").write_text("d t ERROR failed: disk\nd t INFO training a into b\nd t INFO epoch 1 of 3: x\n")
    assert read_run(folder).remarks == ("stopped, or still going on, after step 30",)
    with (folder / "train.log").open("a") as stream:
        stream.write("d t ERROR failed: again\n")
    assert read_run(folder).remarks == ("failed: again",)


def test_doubts_about_numbers_are_told(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", curve=((5.0, 3.0), (math.nan, math.nan)), seconds_per_epoch=None)
    write_timing(folder, [{"step": 20, "seconds": 9.0}], first_step=10)
    write_scores(folder, 2.0, 1.0, missing=["pt_1"], failed={"pt_2": "why"})
    one = read_run(folder)
    assert one.status == FINISHED
    assert one.remarks == (
        "diverged: its last validation dose score is not a number",
        "its first 10 steps were not timed",
        "scored on 33 patients, 2 more failed or were missing",
    )
    assert [point.seconds for point in one.curve] == [None, None]
    assert one.best == one.curve[0]
    done = summarized(tmp_path, folder)
    assert done["runs"][0]["last_dose_score_gy"] is None
    assert "nan / nan" not in (tmp_path / "out" / "summary.md").read_text()
    assert done["variants"][0]["last_dose_score_gy"] is None


def test_runs_of_another_length_or_without_recipe_are_variants_of_their_own(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "a", seed=0)
    write_run(tmp_path / "runs" / "b", seed=1, curve=((4.0, 4.0), (3.0, 3.0)))
    for name in ("c", "d"):
        (write_run(tmp_path / "runs" / name) / "recipe.json").unlink()
    done = summarized(tmp_path, tmp_path / "runs")
    assert [variant["runs"] for variant in done["variants"]] == [1, 1, 1, 1]
    labels = [variant["variant"] for variant in done["variants"]]
    assert len(set(labels)) == 4
    assert "base, 20 steps" in labels


def test_parts_of_another_class_are_told_by_the_class() -> None:
    """Numbers of a class are compared among runs that have it, a part that is absent is a dash."""
    recipes = [
        {"model._target_": "x.C3D", "model.width": 8, "loss.l1": 1.0, "seed": 0},
        {"model._target_": "x.C3D", "model.width": 16, "loss.l1": 1.0, "seed": 1},
        {"model._target_": "x.UNet", "model.depth": 3, "loss.l1": 1.0, "loss.dvh._target_": "y.DVHLoss", "seed": 0},
        {"model._target_": "x.C3D", "model.width": 8, "loss.l1": 1.0, "stage1": "runs/one/model.safetensors"},
    ]
    told, usual = differences(recipes)
    assert told == [
        {},
        {"model.width": "16"},
        {"loss.dvh": "DVHLoss", "model": "UNet"},
        {"stage1": "one/model.safetensors"},
    ]
    assert usual == {"loss.dvh": "–", "model": "C3D", "model.width of C3D": "8", "stage1": "–"}


def test_stage_1_is_not_ranked_with_predictions(tmp_path: Path) -> None:
    """A reconstruction of the dose is no prediction, however good its score."""
    write_run(tmp_path / "runs" / "net", "net", curve=((4.0, 4.0), (3.0, 3.0)))
    codec = {"module._target_": "dosewright.training.codec_module.CodecModule"}
    write_run(tmp_path / "runs" / "codec", "codec", curve=((2.0, 2.0), (0.5, 0.5)), **codec)
    done = summarized(tmp_path, tmp_path / "runs")
    assert [one["name"] for one in done["runs"]] == ["net"]
    assert [one["name"] for one in done["stage1"]["runs"]] == ["codec"]
    assert "Stage I is summarized [apart](stage1/summary.md)." in (tmp_path / "out" / "summary.md").read_text()
    assert (tmp_path / "out" / "stage1" / "scores.png").is_file()
    alone = summarized(tmp_path, tmp_path / "runs" / "codec", f"out={tmp_path / 'alone'}")
    assert [one["name"] for one in alone["runs"]] == ["codec"]
    assert "not of predictions" in (tmp_path / "alone" / "summary.md").read_text()


def test_what_hydra_does_not_build_with_is_left_out() -> None:
    assert differences([{"loss._convert_": "all", "lr": 1}, {"lr": 1}]) == ([{}, {}], {})


def test_runs_are_found_below_and_listed_once(tmp_path: Path) -> None:
    a, b = write_run(tmp_path / "runs" / "x" / "a", "a"), write_run(tmp_path / "runs" / "b", "b")
    write_run(a / "nested", "nested")  # inside a run: not one to compare
    write_run(tmp_path / "runs" / ".hidden" / "c", "c")
    (tmp_path / "runs" / "predictions").mkdir()
    done = summarized(tmp_path, [tmp_path / "runs", b])
    assert sorted(one["name"] for one in done["runs"]) == ["a", "b"]
    assert len(summarized(tmp_path, b)["runs"]) == 1


def test_folders_without_runs_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: runs must be or hold at least one folder of `dosewright train`"):
        summarized(tmp_path, tmp_path / "empty")
    with pytest.raises(InputError, match=r"runs must be a folder; got '.*absent'"):
        summarized(tmp_path, tmp_path / "absent")


def test_pictures_show_every_score(tmp_path: Path) -> None:
    runs = []
    for seed, (dose, dvh) in enumerate([(2.0, 1.0), (3.0, 1.5)]):
        path, curve = tmp_path / f"{seed}", ((9.0, 9.0), (dose, dvh))
        runs.append(read_run(write_run(path, seed=seed, curve=curve, seconds_per_epoch=60.0 * (seed + 1))))
    (write_run(tmp_path / "open", "open", seed=7, curve=((9.0, 9.0), (8.0, 8.0))) / "model.safetensors").unlink()
    summary = summarize([*runs, read_run(tmp_path / "open")])
    scores = draw_scores(summary)
    assert scores is not None
    dots = [sorted(line.get_xdata()) for line in (axes.lines[0] for axes in scores.axes)]
    assert dots == [[2.0, 3.0], [1.0, 1.5]]
    assert [axes.lines[1].get_xdata()[0] for axes in scores.axes] == [2.5, 1.25]
    assert [axes.get_xlabel() for axes in scores.axes] == [f"{k} score [Gy], lower is better" for k in ("Dose", "DVH")]
    curves = draw_learning_curves(summary)
    assert curves is not None
    over_epochs, over_time = curves.axes
    assert [list(line.get_xdata()) for line in over_epochs.lines] == [[1.0, 2.0]] * 2
    assert [list(line.get_xdata()) for line in over_time.lines] == [
        [1.5, 3.0],
        [1.0, 2.0],
    ]  # minutes, mean of two seeds
    for axes in curves.axes:
        assert [list(line.get_ydata()) for line in axes.lines] == [[9.0, 2.5], [9.0, 8.0]]
    assert over_time.get_xlabel() == "Wall time of training [min]"
    (legend,) = curves.legends
    assert [text.get_text() for text in legend.texts] == ["base (2 seeds)", "open, seed 7 (unfinished)"]


def test_a_seed_with_other_validations_keeps_its_own_line(tmp_path: Path) -> None:
    seeds = [((9.0, 9.0), (2.0, 1.0)), ((8.0, 8.0), (4.0, 2.0))]
    runs = [read_run(write_run(tmp_path / f"{n}", seed=n, curve=curve)) for n, curve in enumerate(seeds)]
    odd = write_run(tmp_path / "odd", seed=2, curve=((9.0, 9.0), (5.0, 5.0)))
    metrics = odd / "logs" / "metrics.csv"
    metrics.write_text(metrics.read_text() + "0,,4,,7.0,7.0\n")
    figure = draw_learning_curves(summarize([*runs, read_run(odd)]))
    assert figure is not None
    assert [list(line.get_ydata()) for line in figure.axes[0].lines] == [[8.5, 3.0], [9.0, 5.0, 7.0]]


def test_without_scores_there_are_no_pictures(tmp_path: Path) -> None:
    one = write_run(tmp_path / "a", curve=((3.0, 2.0),))
    summarized(tmp_path, one)
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {"scores.png"}  # one point is no curve
    (one / "logs" / "metrics.csv").unlink()
    summarized(tmp_path, one)
    assert list((tmp_path / "out").glob("*.png")) == []
    assert "![" not in (tmp_path / "out" / "summary.md").read_text()


def test_further_metrics_and_odd_names_survive_markdown(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", "a|b <c>", curve=((3.0, 2.0),))
    table = "epoch,step,train/loss,val/dose_score,val/dvh_score,val/usage\n0,9,,3.0,2.0,0.75\n0,9,1.0,,,\n"
    (folder / "logs" / "metrics.csv").write_text(table)
    text = markdown(summarize([read_run(folder)]))
    assert "1. a\\|b \\<c\\>" in text
    assert "| val/usage |" in text
    assert "| 0.75 |" in text
