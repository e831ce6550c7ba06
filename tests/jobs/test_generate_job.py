"""`dosewright generate` on small cases and made-up beams: what is made, resumed, rejected, and lost with a worker."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from omegaconf import DictConfig, OmegaConf

from cases import make_case
from dosewright.core import InputError
from dosewright.io.prepared import PreparedReader, write_case
from dosewright.io.prepared_plan import read_fluence, read_provenance
from dosewright.jobs import generate_unit
from dosewright.jobs.generate import run
from dosewright.jobs.generate_store import PlanStore
from plan_problems import make_influence
from tiny import config

LENIENT = (
    "+factory.quality.least_d95=0.01",
    "+factory.quality.most_hot=9",
    "+factory.quality.most_spill=9",
    "+factory.quality.most_mean_excess=9",
    "+factory.quality.factors=[0.01,100]",
)
SETTINGS = ("plans=5", "batch=2", "cluster=none", "card=null", "data.split=train")


def generate_config(cases: Path, out: Path, *overrides: str) -> DictConfig:
    cfg = config("generate", *SETTINGS, f"out={out}", *overrides)
    cfg.data.reader = {"_target_": "dosewright.io.prepared.PreparedReader", "folder": str(cases)}
    return cfg


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cases")
    for case_id in ("case_1", "case_2"):
        case = make_case(case_id)
        smooth = np.where(case.body, 25.0 + 40.0 * case.structures["PTV_High"], 0).astype(np.float32)
        write_case(folder / f"{case_id}.case", replace(case, dose_gy=smooth))
    return folder


@pytest.fixture(autouse=True)
def _made_up_beams(monkeypatch: pytest.MonkeyPatch, one_thread: None) -> None:
    monkeypatch.setattr(generate_unit, "compute_influence", lambda case, settings: make_influence(case))


@pytest.fixture(scope="module")
def made_once(cases: Path, tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    out = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generate_unit, "compute_influence", lambda case, settings: make_influence(case))
        assert run(generate_config(cases, out, *LENIENT)) == {"kept": 10, "rejected": 0, "failed": {}}
    return out


@pytest.fixture
def made(made_once: Path, tmp_path: Path) -> Path:
    """A finished run that the test may change."""
    shutil.copytree(made_once, tmp_path / "made")
    return tmp_path / "made"


def marks(folder: Path) -> dict[str, int]:
    return {
        path.name: path.stat().st_mtime_ns for path in sorted(folder.rglob("*")) if path.suffix in (".case", ".json")
    }


def test_plans_are_prepared_cases_that_training_reads(cases: Path, made: Path) -> None:
    reader = PreparedReader(made, "train")
    assert list(reader.case_ids) == [f"case_{n}.case.p{index:05d}" for n in (1, 2) for index in range(5)]
    source = PreparedReader(cases).read("case_1")
    plan = reader.read("case_1.case.p00003")
    assert plan.prescription_gy == source.prescription_gy
    assert np.array_equal(plan.structures["Parotid_L"], source.structures["Parotid_L"])
    assert np.array_equal(plan.ct_hu, source.ct_hu)
    path = made / "train" / "case_1.case.p00003.case"
    provenance = read_provenance(path)
    assert (provenance["patient"], provenance["beam_set"], provenance["draw"]["index"]) == ("case_1", "case", 3)
    gland = plan.dose_gy[plan.structures["Parotid_L"]].mean()
    assert provenance["measures"]["Parotid_L mean"] == pytest.approx(float(gland), abs=0.006)  # steps of 10 mGy
    assert read_fluence(path).min() >= 0


def test_doses_of_a_patient_differ(made: Path) -> None:
    reader = PreparedReader(made, "train")
    doses = [reader.read(name).dose_gy for name in reader.case_ids[:5]]
    apart = [float(np.abs(a - b).mean()) for i, a in enumerate(doses) for b in doses[i + 1 :]]
    assert min(apart) > 0.2


def test_started_again_nothing_is_done(cases: Path, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = marks(made / "train")
    monkeypatch.setattr(generate_unit, "PlanMaker", None)
    assert run(generate_config(cases, made, *LENIENT))["kept"] == 10
    assert marks(made / "train") == before


def test_what_is_missing_is_made_again_and_alike(cases: Path, made: Path) -> None:
    path = made / "train" / "case_2.case.p00002.case"
    whole = PreparedReader(made, "train").read(path.stem).dose_gy
    path.unlink()
    before = marks(made / "train")
    run(generate_config(cases, made, *LENIENT))
    after = marks(made / "train")
    assert {name for name in after if after[name] != before.get(name)} - {path.name} <= {"case_2.case.b00002-1.json"}
    again = PreparedReader(made, "train").read(path.stem).dose_gy
    assert float(np.abs(again - whole).mean()) < 0.5  # in a batch of its own, see test_maker


def test_more_plans_keep_those_that_are_there(cases: Path, made: Path) -> None:
    before = marks(made / "train")
    assert run(generate_config(cases, made, *LENIENT, "plans=6", "batch=3"))["kept"] == 12
    after = marks(made / "train")
    assert {name: after[name] for name in before} == before


def test_plans_of_other_settings_are_refused_and_stay(cases: Path, made: Path) -> None:
    before = marks(made)
    with pytest.raises(
        InputError, match=r"train: out holds plans that other settings.*overwrite=true \(1 pairs"
    ) as error:
        run(generate_config(cases, made, *LENIENT, "factory.seed=1", "cases=[case_1]"))
    assert error.value.value == "case_1, case, …"
    assert marks(made) == before


def test_plans_of_other_settings_are_removed_when_asked(cases: Path, made: Path) -> None:
    before = marks(made / "train")
    run(generate_config(cases, made, *LENIENT, "factory.seed=1", "cases=[case_1]", "plans=3", "overwrite=true"))
    assert {path.name for path in (made / "train").glob("case_1.*.case")} == {
        f"case_1.case.p{index:05d}.case" for index in range(3)
    }
    assert {path.name for path in (made / "train" / "batches").glob("case_1.*")} == {
        "case_1.case.b00000-1.json",
        "case_1.case.b00001-2.json",
    }
    after = marks(made / "train")
    assert {name: after[name] for name in before if name.startswith("case_2")} == {
        name: mark for name, mark in before.items() if name.startswith("case_2")
    }


def test_the_same_folder_can_be_started_over(cases: Path, made: Path) -> None:
    before = marks(made / "train")
    run(generate_config(cases, made, *LENIENT, "factory.seed=1", "cases=[case_1]", "overwrite=true"))
    after = marks(made / "train")
    assert {name for name in before if after[name] != before[name] and name.endswith(".case")} == {
        f"case_1.case.p{index:05d}.case" for index in range(5)
    }


def test_a_torn_record_has_its_batch_made_again(cases: Path, made: Path) -> None:
    record = next((made / "train" / "batches").glob("case_1.case.b00001*"))
    record.write_text(record.read_text()[:100])
    assert run(generate_config(cases, made, *LENIENT))["kept"] == 10
    assert json.loads(record.read_text())["case_id"] == "case_1"


def test_the_summary_says_what_is_there(made: Path) -> None:
    summary = json.loads((made / "summary.json").read_text())
    rows = list(csv.DictReader((made / "plans.csv").open()))
    assert len(rows) == 10
    means = [float(row["Parotid_L mean"]) for row in rows]
    assert summary["kept plans"]["Parotid_L mean"]["mean"] == pytest.approx(np.mean(means), abs=1e-3)
    own = summary["reference doses"]["Parotid_L mean"]
    assert own == pytest.approx({"n": 2, "mean": 25.0, "sd": 0.0, "p5": 25.0, "p50": 25.0, "p95": 25.0}, abs=1e-3)
    sizes = [path.stat().st_size for path in (made / "train").glob("*.case")]
    assert summary["bytes per plan"] == round(np.mean(sizes))
    assert "10 plans of 2 patients, beams: case; 0 more were rejected" in (made / "card.md").read_text()
    assert (made / "distributions.png").stat().st_size > 10_000


def test_rejected_plans_are_counted_not_written(cases: Path, tmp_path: Path) -> None:
    strict = [override for override in LENIENT if "hot" not in override]
    result = run(generate_config(cases, tmp_path, *strict, "+factory.quality.most_hot=0.5", "cases=[case_1]"))
    assert (result["kept"], result["rejected"]) == (0, 5)
    assert not list((tmp_path / "train").glob("*.case"))
    assert json.loads((tmp_path / "summary.json").read_text())["reasons of rejection"] == {"D0.1cc": 5}
    rows = list(csv.DictReader((tmp_path / "plans.csv").open()))
    assert all(row["kept"] == "0" and row["reasons"].startswith("D0.1cc is ") for row in rows)


def test_a_case_that_cannot_be_planned_is_named_and_the_others_are_made(
    cases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def influence(case: object, settings: object) -> object:
        if case.case_id == "case_1":  # type: ignore[attr-defined]
            raise InputError("must reach the targets", argument="beams", value="none does")
        return make_influence(case)  # type: ignore[arg-type]

    monkeypatch.setattr(generate_unit, "compute_influence", influence)
    with pytest.raises(
        InputError, match=r"(?s)could not be planned \(1 others were\):\n  case_1, case: beams must reach"
    ):
        run(generate_config(cases, tmp_path, *LENIENT))
    assert json.loads((tmp_path / "summary.json").read_text())["kept"] == 5


@pytest.mark.parametrize(
    ("override", "rule"),
    [
        ("plans=0", "plans must be at least 1; got 0"),
        ("batch=0", "batch must be at least 1; got 0"),
        ("retries=-1", "retries must not be negative; got -1"),
        ("factory.seed=-2", "factory.seed must not be negative"),
        ("cases=[nobody]", "nobody"),
        ("card=unknown_card", "one of the cards that ship"),
    ],
)
def test_bad_settings_are_refused(cases: Path, tmp_path: Path, override: str, rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        run(generate_config(cases, tmp_path, override))


def test_a_killed_worker_loses_its_batch_only(cases: Path, tmp_path: Path) -> None:
    """Of two Dask workers one dies in its second batch: its first batch stays, the rest is made by another."""
    pytest.importorskip("distributed")
    cfg = generate_config(cases, tmp_path / "out", *LENIENT, "cluster=local", "cases=[case_1]")
    plain = OmegaConf.to_container(cfg, resolve=True)
    plain["beam_sets"] = {"case": {"_target_": "factory_faults.DyingBeams", "marker": str(tmp_path / "died")}}
    result = run(OmegaConf.create(plain))
    assert (tmp_path / "died").read_text() == "1 batch on the disk"
    assert result["kept"] == 5
    records = list(PlanStore(tmp_path / "out" / "train").records())
    assert sorted(plan.index for record in records for plan in record.plans) == [0, 1, 2, 3, 4]
