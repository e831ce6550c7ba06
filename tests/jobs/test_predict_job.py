import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig

from cases import make_case
from dosewright.core import CheckpointError, InputError, PatientCase
from dosewright.inference.weights import load_model
from dosewright.io.predictions import read_prediction
from dosewright.io.prepared import PreparedReader, write_case
from dosewright.jobs.predict import build_predictor, run
from dosewright.jobs.train import build_module
from dosewright.training.export import save_weights
from openkbp_files import BODY, flat, write_patient
from tiny import config, training

SHAPE = (16, 32, 32)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def predict_config(root: Path, out: Path, weights: Path, *overrides: str) -> DictConfig:
    data = ["data=prepared", f"data.root={root}", "data.split=test"]
    return config("predict", *data, f"checkpoint={weights}", f"out={out}", "flip=false", "device=cpu", *overrides)


def test_every_case_gets_the_dose_of_the_net(prepared_root: Path, out: Path, weights: Path) -> None:
    done = run(predict_config(prepared_root, out, weights))
    assert done["cases"] == 2
    assert sorted(path.name for path in out.iterdir()) == ["predict.json", "test_5.npz", "test_6.npz"]
    model = load_model(weights)
    for case in PreparedReader(prepared_root, "test"):
        dose_gy = read_prediction(out, case)
        box = tuple(slice(int(i.min()), int(i.max()) + 1) for i in np.nonzero(case.scored_mask))
        image = model.channels.compute(case)[(slice(None), *box)]
        z, y, x = image.shape[1:]
        assert (z, y, x) == (14, 28, 28)
        canvas = np.tile(np.float32(model.channels.fill)[:, None, None, None], (1, 16, 28, 28))
        canvas[:, :z] = image
        with torch.no_grad():
            expected = 70 * model.net(torch.from_numpy(canvas)[None])[0, 0, :z]
        inside = np.where(case.scored_mask[box], np.maximum(expected.numpy(), 0), 0)
        np.testing.assert_allclose(dose_gy[box], inside, rtol=1e-4, atol=1e-3)
        assert float(dose_gy.max()) > 5.0
        dose_gy[box] = 0
        assert not dose_gy.any()


def test_started_again_it_predicts_only_what_is_missing(prepared_root: Path, out: Path, weights: Path) -> None:
    run(predict_config(prepared_root, out, weights))
    (out / "test_6.npz").unlink()
    kept = (out / "test_5.npz").stat().st_mtime_ns
    assert run(predict_config(prepared_root, out, weights))["cases"] == 2
    assert (out / "test_5.npz").stat().st_mtime_ns == kept
    assert (out / "test_6.npz").is_file()
    assert run(predict_config(prepared_root, out, weights))["seconds_per_case"] is None
    seconds = json.loads((out / "predict.json").read_text())["seconds"]  # of earlier starts, too
    assert sorted(seconds) == ["test_5", "test_6"]
    assert all(0 < value < 60 for value in seconds.values())


@pytest.mark.parametrize(
    "override", ["flip=true", "precision=bf16", "window_zyx=[8,8,8]", "data.split=train", "+data.seed=1"]
)
def test_other_settings_are_not_mixed_into_a_folder(
    prepared_root: Path, out: Path, weights: Path, override: str
) -> None:
    run(predict_config(prepared_root, out, weights))
    kept = (out / "test_5.npz").read_bytes()
    with pytest.raises(InputError, match="out holds predictions made with other settings: choose another"):
        run(predict_config(prepared_root, out, weights, override))
    assert (out / "test_5.npz").read_bytes() == kept


def test_a_root_is_the_same_however_it_is_written(
    prepared_root: Path, out: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(predict_config(prepared_root, out, weights))
    monkeypatch.chdir(prepared_root.parent)
    done = run(predict_config(Path(prepared_root.name), out, weights))
    assert done["seconds_per_case"] is None  # nothing left to do
    assert json.loads((out / "predict.json").read_text())["data"] == {
        "name": "prepared",
        "root": str(prepared_root.resolve()),
        "split": "test",
    }


def test_a_case_that_changed_is_predicted_again(tmp_path: Path, out: Path, weights: Path) -> None:
    for seed in (0, 1):
        case = make_case(f"case_{seed}", seed=seed, shape=SHAPE)
        write_case(tmp_path / "test" / f"case_{seed}.case", case, f"first {seed}")
    run(predict_config(tmp_path, out, weights))
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.glob("*.npz")}
    changed = replace(make_case("case_1", seed=1, shape=SHAPE), ct_hu=np.full(SHAPE, 500, np.int16))
    write_case(tmp_path / "test" / "case_1.case", changed, "second 1")
    run(predict_config(tmp_path, out, weights))
    after = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.glob("*.npz")}
    assert after["case_0.npz"] == before["case_0.npz"]
    assert after["case_1.npz"][0] != before["case_1.npz"][0]
    assert json.loads((out / "predict.json").read_text())["fingerprints"] == {"case_0": "first 0", "case_1": "second 1"}


def test_overwrite_keeps_an_old_file_until_its_new_one_is_there(
    prepared_root: Path, out: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dosewright.inference.predictor import Predictor

    run(predict_config(prepared_root, out, weights))
    old = {path.name: path.read_bytes() for path in out.glob("*.npz")}
    works = Predictor.predict

    def killed(self: Predictor, case: PatientCase) -> object:
        if case.case_id == "test_6":
            raise KeyboardInterrupt
        return works(self, case)

    monkeypatch.setattr(Predictor, "predict", killed)
    with pytest.raises(KeyboardInterrupt):
        run(predict_config(prepared_root, out, weights, "flip=true", "overwrite=true"))
    assert (out / "test_5.npz").read_bytes() != old["test_5.npz"]
    assert (out / "test_6.npz").read_bytes() == old["test_6.npz"]
    monkeypatch.undo()
    run(predict_config(prepared_root, out, weights, "flip=true"))  # goes on, and does not take the old one for a new
    assert (out / "test_6.npz").read_bytes() != old["test_6.npz"]


def test_overwrite_predicts_anew_and_leaves_nothing_of_the_old_settings(
    prepared_root: Path, out: Path, weights: Path
) -> None:
    run(predict_config(prepared_root, out, weights))
    old = (out / "test_5.npz").read_bytes()
    run(predict_config(prepared_root, out, weights, "flip=true", "overwrite=true"))
    assert (out / "test_5.npz").read_bytes() != old
    assert json.loads((out / "predict.json").read_text())["flip"] is True


def test_predictions_of_unknown_origin_are_not_mixed_in(prepared_root: Path, out: Path, weights: Path) -> None:
    run(predict_config(prepared_root, out, weights))
    for content in (None, "{"):
        (out / "predict.json").unlink() if content is None else (out / "predict.json").write_text(content)
        with pytest.raises(InputError, match="holds predictions made with other settings"):
            run(predict_config(prepared_root, out, weights))


def test_a_broken_case_costs_only_itself(prepared_root: Path, tmp_path: Path, out: Path, weights: Path) -> None:
    (case, _) = PreparedReader(prepared_root, "test")
    for number in range(3):
        write_case(tmp_path / "test" / f"case_{number}.case", replace(case, case_id=f"case_{number}"))
    path = tmp_path / "test" / "case_1.case"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"(?s)1 cases could not be predicted \(2 others were\):\n  case_1: .*whole"):
        run(predict_config(tmp_path, out, weights))
    assert sorted(path.name for path in out.glob("*.npz")) == ["case_0.npz", "case_2.npz"]


def test_a_lack_of_memory_costs_only_its_case(
    prepared_root: Path, out: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dosewright.inference.predictor import Predictor

    works = Predictor.predict

    def predict(self: Predictor, case: object) -> object:
        if case.case_id == "test_5":  # type: ignore[attr-defined]
            raise torch.OutOfMemoryError("CUDA out of memory")
        return works(self, case)  # type: ignore[arg-type]

    monkeypatch.setattr(Predictor, "predict", predict)
    with pytest.raises(InputError, match=r"(?s)1 cases could not be predicted.*test_5: CUDA out of memory"):
        run(predict_config(prepared_root, out, weights))
    assert [path.name for path in out.glob("*.npz")] == ["test_6.npz"]


def test_an_ensemble_is_the_mean(prepared_root: Path, tmp_path: Path, weights: Path) -> None:
    torch.manual_seed(1)
    module = build_module(training(prepared_root, tmp_path))
    with torch.no_grad():
        module.net.head.out.bias.fill_(1.0)  # type: ignore[union-attr]
    other = save_weights(tmp_path / "other.safetensors", module)
    doses = {}
    for name, given in (("one", weights), ("two", other), ("both", f"[{weights},{other}]")):
        run(predict_config(prepared_root, tmp_path / name, given))  # type: ignore[arg-type]
        for case in PreparedReader(prepared_root, "test"):
            doses[name] = read_prediction(tmp_path / name, case)
    where = (doses["one"] > 0) & (doses["two"] > 0)  # the mean is clamped at zero, not its parts
    assert where.sum() > 1000
    np.testing.assert_allclose(doses["both"][where], (doses["one"] + doses["two"])[where] / 2, rtol=1e-5)


def test_a_submission_is_written_and_checked(tmp_path: Path, out: Path, weights: Path) -> None:
    write_patient(tmp_path / "provided-data" / "test-pats" / "pt_241")
    data = ["data=openkbp", f"data.root={tmp_path}", "data.split=test", f"checkpoint={weights}", f"out={out}"]
    run(config("predict", *data, "device=cpu", "submission=openkbp"))
    with zipfile.ZipFile(out / "submission.zip") as archive:
        assert archive.namelist() == ["pt_241.csv"]
        rows = archive.read("pt_241.csv").decode().splitlines()
    allowed = {str(flat(place)) for place in BODY}
    predicted = {row.split(",")[0] for row in rows[1:]}
    assert predicted <= allowed
    assert len(predicted) > 0.5 * len(allowed)


def test_the_split_and_its_size_are_told(
    prepared_root: Path, out: Path, weights: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert config("predict", "data=prepared").data.split == config("evaluate").data.split == "validation"
    with caplog.at_level("INFO"):
        run(predict_config(prepared_root, out, weights))
    assert "2 cases of prepared, split test" in caplog.messages


@pytest.mark.parametrize(
    ("preference", "shipped"), [((), "openkbp_direct"), (("preference.sparing=0.9",), "openkbp_two_stage")]
)
def test_weights_that_ship_are_told(
    preference: tuple[str, ...], shipped: str, out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cfg = config("predict", "data=prepared", "data.root=nowhere", f"out={out}", "device=cpu", *preference)
    with caplog.at_level("INFO"):
        predictor = build_predictor(cfg)
    assert [model.path.stem for model in predictor.models] == [shipped]
    assert f"weights that ship: {predictor.models[0].path}" in caplog.messages


def test_given_weights_are_told(
    prepared_root: Path, out: Path, weights: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        build_predictor(predict_config(prepared_root, out, weights))
    assert f"weights: {weights}" in caplog.messages


def test_bad_settings_are_refused(prepared_root: Path, out: Path, weights: Path) -> None:
    with pytest.raises(InputError, match="submission must be null or openkbp or gdp_hmm; got 'gdphmm'"):
        run(predict_config(prepared_root, out, weights, "submission=gdphmm"))
    with pytest.raises(InputError, match=r"submission must be null for data\.split=train; got 'openkbp'"):
        run(predict_config(prepared_root, out, weights, "submission=openkbp", "data.split=train"))
    with pytest.raises(InputError, match="baseline must be null or mean_dose; got 'median'"):
        run(predict_config(prepared_root, out, weights, "baseline=median"))
    with pytest.raises(CheckpointError, match=r"absent\.ckpt: checkpoint must exist"):
        run(predict_config(prepared_root, out, out / "absent.ckpt"))
    assert not out.exists()


def test_the_mean_dose_is_a_baseline(prepared_root: Path, out: Path, weights: Path) -> None:
    run(predict_config(prepared_root, out, weights, "baseline=mean_dose"))
    mean = np.mean([case.dose_gy for case in PreparedReader(prepared_root, "train")], axis=0, dtype=float)
    for case in PreparedReader(prepared_root, "test"):
        np.testing.assert_allclose(read_prediction(out, case), mean * case.scored_mask, rtol=1e-5, atol=1e-4)
