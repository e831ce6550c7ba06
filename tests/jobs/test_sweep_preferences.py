import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from omegaconf import DictConfig

import dosewright.jobs.predict as predict_job
import dosewright.jobs.sweep_preferences as sweep_job
from dosewright.core import InputError, StorageError
from dosewright.core.preference import GROUPS
from dosewright.dose.table import DvhCurves
from dosewright.inference.preference_behaviour import Response
from dosewright.io.prepared import PreparedReader, write_case
from dosewright.jobs.predict import run as predict
from dosewright.jobs.sweep_figures import draw_families, draw_responses
from dosewright.jobs.sweep_preferences import run
from slider_net import SliderNet, slider_case, slider_model
from tiny import config

FEW = ("sparing=[0.8,1.0,1.2]", "homogeneity=[0.75,1.5]", "plots=1")
SETTINGS = 1 + 2 + 2  # neutral is among the values of sparing


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("case_1", "case_2"):
        write_case(tmp_path / "data" / "test" / f"{name}.case", slider_case(name), name)
    return tmp_path / "data"


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> SliderNet:
    """The net every checkpoint holds."""
    net = SliderNet()
    monkeypatch.setattr(predict_job, "load_model", lambda path: slider_model(net, Path(path)))
    return net


def job_config(job: str, root: Path, *overrides: str) -> DictConfig:
    weights = root.parent / "net.safetensors"
    if not weights.exists():
        weights.write_bytes(b"one")
    data = ("data=prepared", f"data.root={root}", "data.split=test", "device=cpu")
    return config(job, *data, f"checkpoint={weights}", f"out={root.parent / 'out'}", *overrides)


def sweep_config(root: Path, *overrides: str) -> DictConfig:
    return job_config("sweep-preferences", root, *FEW, *overrides)


def test_the_tables_hold_what_the_net_does(root: Path, net: SliderNet) -> None:
    done = run(sweep_config(root, "per_group=true"))
    out = root.parent / "out"
    assert len(net.calls) == 2 * (SETTINGS + 4 * 2)
    assert done["cases"] == 2
    summary = json.loads((out / "summary.json").read_text())
    assert summary["cases"] == ["case_1", "case_2"]
    assert summary["settings"] == SETTINGS + 4 * 2
    parotid = summary["responses"]["sparing"]["Parotid_L"]["Dmean"]
    assert parotid["cases"] == 2
    assert parotid["change_mean"] == pytest.approx(12.8, rel=1e-4)
    assert (parotid["spearman_median"], parotid["share_follows"]) == (1.0, 1.0)
    hi = summary["responses"]["salivary"]["PTV_High"]["HI"]
    assert hi["change_least"] == pytest.approx(-0.6 / 70, rel=1e-3)
    assert summary["responses"]["homogeneity"]["Parotid_L"]["Dmean"]["share_follows"] is None
    pairs = summary["pairs"]
    assert pairs["organ means fall with sparing"] == {"pairs": 8, "share_follows": 0.75}  # not the larynx
    assert pairs["organ means fall with sparing, without organs inside targets"]["share_follows"] == 1.0
    assert pairs["organ means outside targets fall with sparing"] == {"pairs": 6, "share_follows": 1.0}
    assert pairs["HI rises with stronger sparing, all targets"] == {"pairs": 4, "share_follows": 1.0}
    assert pairs["HI follows homogeneity, highest target"] == {"pairs": 2, "share_follows": 1.0}
    assert {what: done[what] for what in pairs} == {what: p["share_follows"] for what, p in pairs.items()}
    assert summary["inside_targets"] == ["case_1 Larynx", "case_2 Larynx"]
    assert summary["leakage"]["neural"]["other_span_gy"] == pytest.approx(0.8, rel=1e-3)
    worst = summary["d95"]["sweep"]
    assert worst["worst_percent"] == pytest.approx(300 / 56, rel=1e-3)
    assert (worst["worst_structure"], worst["share_within_2_percent"], worst["pairs"]) == ("PTV_Low", 0.0, 4)
    assert summary["d95"]["from_neutral"]["share_within_2_percent"] == 1.0


def test_the_long_table_has_every_value_once(root: Path, net: SliderNet) -> None:
    run(sweep_config(root, "cases=[case_2]", "grid=true"))
    with (root.parent / "out" / "preferences.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == [
        *("case_id", "salivary", "neural", "swallowing", "rest", "homogeneity", "structure", "metric", "unit", "value")
    ]
    settings = {tuple(float(row[name]) for name in list(rows[0])[1:6]) for row in rows}
    axes = {(w, 1.0) for w in (0.8, 1.0, 1.2)} | {(w, h) for w in (0.8, 1.0, 1.2) for h in (0.75, 1.5)}
    assert settings == {(w, w, w, w, h) for w, h in axes}
    assert len(rows) == len(axes) * (2 * 5 + 3 * 3 + 2)
    assert len({tuple(row.values())[:-1] for row in rows}) == len(rows)
    (row,) = (
        row
        for row in rows
        if (row["structure"], row["metric"], row["rest"], row["homogeneity"]) == ("SpinalCord", "Dmean", "0.8", "1.5")
    )
    assert float(row["value"]) == pytest.approx(20 * 0.8 + 4 * 0.5, rel=1e-5)
    assert row["unit"] == "Gy"
    assert {row["case_id"] for row in rows} == {"case_2"}


def test_the_report_names_its_numbers_and_pictures(root: Path, net: SliderNet) -> None:
    run(sweep_config(root))
    out = root.parent / "out"
    text = (out / "summary.md").read_text()
    assert "| Parotid_L | 2 | +12.80 (+12.80 to +12.80) | +12.80 (+12.80 to +12.80) |" in text
    assert "| sparing | PTV_High | 2 | -0.0343 (-0.0343 to -0.0343) | -1.00 | 100 % |" in text
    assert "| organ means fall with sparing | 8 | 75 % |" in text
    assert "| any setting, from prescription | 5.36 (case_1 PTV_Low) |" in text
    assert "- organs without a voxel outside the targets: case_1 Larynx, case_2 Larynx" in text
    names = ["case_1_dvh_homogeneity", "case_1_dvh_sparing", "over_homogeneity", "over_sparing"]
    assert sorted(path.stem for path in (out / "plots").iterdir()) == names
    for name in names:
        assert f"![{name}](plots/{name}.png)" in text
        assert (out / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_done_with_the_same_settings_is_not_predicted_again(root: Path, net: SliderNet) -> None:
    run(sweep_config(root, "cases=[case_1]"))
    first = json.loads((root.parent / "out" / "summary.json").read_text())
    assert len(net.calls) == SETTINGS
    run(sweep_config(root, "cases=[case_1]"))
    assert len(net.calls) == SETTINGS
    assert json.loads((root.parent / "out" / "summary.json").read_text()) == first
    run(sweep_config(root))
    assert len(net.calls) == 2 * SETTINGS  # the other case
    run(sweep_config(root, "plots=2"))
    assert len(net.calls) == 3 * SETTINGS  # its pictures
    run(sweep_config(root, "plots=2", "overwrite=true"))
    assert len(net.calls) == 5 * SETTINGS


@pytest.mark.parametrize(
    "change", ["sparing=[0.8,1.0]", "per_group=true", "precision=bf16", "weights", "case", "broken"]
)
def test_what_was_made_otherwise_is_predicted_again(root: Path, net: SliderNet, change: str) -> None:
    run(sweep_config(root, "cases=[case_1]"))
    before, overrides = len(net.calls), [change] if "=" in change else []
    if change == "weights":
        (root.parent / "net.safetensors").write_bytes(b"two")
    elif change == "case":
        write_case(root / "test" / "case_1.case", slider_case("case_1"), "changed")
    elif change == "broken":
        (root.parent / "out" / "cases" / "case_1.json").write_text('{"made_with": ')
    run(sweep_config(root, "cases=[case_1]", "plots=0", *overrides))
    assert len(net.calls) > before
    pictures = root.parent / "out" / "plots"
    assert not list(pictures.glob("case_1*"))  # they would show the old settings


def test_a_case_that_fails_costs_only_itself(root: Path, net: SliderNet) -> None:
    path = root / "test" / "case_1.case"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"(?s)1 cases could not be swept \(1 others were\):\n  case_1: .*whole"):
        run(sweep_config(root))
    out = root.parent / "out"
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["cases"], list(summary["failed"])) == (["case_2"], ["case_1"])
    assert "- failed: case_1: " in (out / "summary.md").read_text()
    with pytest.raises(InputError, match=r"1 cases could not be swept \(0 others were\)"):
        run(sweep_config(root, "cases=[case_1]"))


def test_a_net_that_breaks_on_one_case_costs_only_that(
    root: Path, net: SliderNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = SliderNet.forward

    def breaking(self: SliderNet, *args: object, **kwargs: object) -> object:
        if len(self.calls) == 2:
            self.calls.append({})
            raise RuntimeError("CUDA out of memory")
        return forward(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(SliderNet, "forward", breaking)
    with pytest.raises(InputError, match="case_1: CUDA out of memory"):
        run(sweep_config(root))
    assert [path.stem for path in (root.parent / "out" / "cases").iterdir()] == ["case_2"]


def test_a_full_disk_ends_the_sweep(root: Path, net: SliderNet, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: str) -> Path:
        raise StorageError(f"{path}: no space left on the disk")

    monkeypatch.setattr(sweep_job, "atomic_write", full)
    with pytest.raises(StorageError, match=r"case_1\.json: no space left"):
        run(sweep_config(root))
    assert len(net.calls) == SETTINGS


def test_a_picture_that_cannot_be_drawn_is_a_warning(
    root: Path, net: SliderNet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("no such colour")

    monkeypatch.setattr(sweep_job, "draw_families", broken)
    assert run(sweep_config(root))["cases"] == 2
    assert "case_1: not drawn: no such colour" in caplog.messages


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sparing=[0.5,1.0]", r"sparing must be in \[0.8, 1.2\], the net's slider; got 0.5"),
        ("homogeneity=[1.0]", "homogeneity must hold at least two different values"),
        ("cases=[case_1,case_9]", r"cases must be \"all\" or a list of cases of this split; got \['case_9'\]"),
        ("cases=[]", 'cases must be "all" or a list of cases'),
        ("plots=-1", 'plots must be a number of cases, zero or more, or "all"; got -1'),
    ],
)
def test_bad_settings_are_refused(root: Path, net: SliderNet, override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(sweep_config(root, override))
    assert net.calls == []


def test_a_net_without_sliders_is_refused(root: Path, net: SliderNet) -> None:
    net.preference = None  # type: ignore[assignment]
    with pytest.raises(InputError, match=r"net\.safetensors: net must have preference sliders"):
        run(sweep_config(root))


def test_figures_show_every_value_of_the_slider() -> None:
    case, bins_gy = slider_case(), np.arange(0.0, 80.0, 0.5)
    curves = {
        value: DvhCurves(bins_gy, {name: np.where(bins_gy <= 60 + at, 100.0, 0.0) for name in case.structures})
        for at, value in enumerate((0.8, 1.0, 1.2))
    }
    figure = draw_families(case, "sparing", curves, curves[1.0])
    panels = {axes.get_title(): axes for axes in figure.axes if axes.get_title()}
    assert set(panels) == set(case.structures)
    for name, axes in panels.items():
        assert [line.get_label() for line in axes.lines] == ["0.8", "1", "1.2", "neutral"]
        assert len({str(line.get_color()) for line in axes.lines}) == 4
        low, high = axes.get_xlim()
        assert low == (pytest.approx(59.0) if name.startswith("PTV") else 0.0)
        assert high == pytest.approx(63.5)
    found = [
        Response(f"case_{n}", "sparing", structure, index, (0.8, 1.0, 1.2), (1.0 + n, 2.0 + n, 4.0 + n))
        for n in range(3)
        for structure, index in (("Parotid_L", "Dmean"), ("PTV_High", "HI"), ("Parotid_L", "D0.1cc"))
    ]
    figure = draw_responses(found, "sparing")
    assert [axes.get_title() for axes in figure.axes] == ["PTV_High (3)", "Parotid_L (3)"]
    for axes in figure.axes:
        median = max((line for line in axes.lines if len(line.get_xdata()) == 3), key=lambda line: line.get_linewidth())
        np.testing.assert_allclose(np.asarray(median.get_ydata()), [2.0, 3.0, 5.0])


def predicted_gy(root: Path, structure: str, *overrides: str) -> list[float]:
    from dosewright.io.predictions import read_prediction

    predict(job_config("predict", root, "flip=false", *overrides))
    cases: Sequence = list(PreparedReader(root, "test"))
    return [float(read_prediction(root.parent / "out", c)[c.structures[structure]].mean()) for c in cases]


def test_predict_sets_the_sliders(root: Path, net: SliderNet) -> None:
    spared = predicted_gy(root, "Parotid_L", "preference.sparing=0.9", "preference.salivary=0.8")
    assert spared == pytest.approx([30 * 0.8 + 2 * (0.9 - 1)] * 2, rel=1e-3)
    manifest = json.loads((root.parent / "out" / "predict.json").read_text())
    assert manifest["preference"] == [
        {"salivary": 0.8, "neural": 0.9, "swallowing": 0.9, "rest": 0.9, "homogeneity": 1.0}
    ]
    for others in ([], ["preference.sparing=0.9"], ["preference.homogeneity=1.1"]):
        with pytest.raises(InputError, match="out holds predictions made with other settings"):
            predicted_gy(root, "Parotid_L", *others)
    even = predicted_gy(root, "SpinalCord", "preference.homogeneity=1.5", "overwrite=true")
    assert even == pytest.approx([22.0] * 2, rel=1e-3)


def test_nothing_asked_of_the_sliders_is_told_as_before(root: Path, net: SliderNet) -> None:
    assert predicted_gy(root, "Parotid_L") == pytest.approx([30.0] * 2, rel=1e-3)
    path = root.parent / "out" / "predict.json"
    manifest = json.loads(path.read_text())
    assert manifest.pop("preference") is None
    path.write_text(json.dumps(manifest))  # a folder of an older version
    before = len(net.calls)
    predicted_gy(root, "Parotid_L")
    assert len(net.calls) == before


def test_predict_refuses_what_a_net_cannot_do(root: Path, net: SliderNet) -> None:
    for override, message in (
        ("preference.sparing=0.5", r"net\.safetensors: preference salivary must be in \[0.8, 1.2\]; got 0.5"),
        ("preference.sparing=little", r"preference\.sparing must be a number or null; got 'little'"),
        ("preference.rest=true", r"preference\.rest must be a number or null; got True"),
    ):
        with pytest.raises(InputError, match=message):
            predicted_gy(root, "Parotid_L", override)
    with pytest.raises(InputError, match="preference must not be given with a baseline"):
        predicted_gy(root, "Parotid_L", "preference.sparing=0.9", "baseline=mean_dose")
    net.preference = None  # type: ignore[assignment]
    with pytest.raises(InputError, match=r"net\.safetensors: preference must not be given: this net has no preference"):
        predicted_gy(root, "Parotid_L", "preference.sparing=0.9")


def test_the_configuration_names_every_slider() -> None:
    assert set(config("predict").preference) == {"sparing", "homogeneity", *GROUPS["per_group"]}
