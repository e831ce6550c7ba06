"""Stage I: each term of its loss by hand, its counts, and a tiny training that resumes exactly."""

import csv
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from dosewright.core import CaseError, InputError, keys
from dosewright.datasets.dataset import REPEATED
from dosewright.datasets.sample import collate
from dosewright.inference.weights import load_codec
from dosewright.io.prepared import PreparedReader
from dosewright.jobs.train import build_data, build_module, run
from dosewright.nets.dose_codec import CodecOutput
from dosewright.nets.quantiser import Quantised
from dosewright.training.codec_module import CodecModule
from tiny import config

EPOCHS = 4
TINY = (
    *("module=stage1", "model=dose_codec", "channels=dose_only", "loss=masked_l1", "callbacks=no_ema"),
    *("data=prepared", "trainer=cpu_fp32", "callbacks.pictures=null"),
    *(
        "model.widths=[4,8,8]",
        "model.latent_channels=8",
        "model.quantiser.codebook_size=16",
        "model.quantiser.levels=2",
    ),
    *("module.adversary.channels=4", "module.adversary.start_step=4"),
    *(f"trainer.max_epochs={EPOCHS}", "trainer.check_val_every_n_epoch=1"),
)


pytestmark = pytest.mark.usefixtures("one_thread")


def made(root: Path, *overrides: str) -> CodecModule:
    module = build_module(config("train", *TINY, f"data.root={root}", "out=unused", *overrides))
    assert isinstance(module, CodecModule)
    return module


@pytest.fixture(scope="module")
def batch(prepared_root: Path) -> dict:
    """Both validation cases; outside the dose mask, 5 Gy that are not to be seen."""
    cfg = config("train", *TINY, f"data.root={prepared_root}", "out=unused")
    dataset = build_data(cfg, build_module(cfg)).dataset("validation")
    batch = collate([dataset[0], dataset[1]])
    return batch | {keys.DOSE: torch.where(batch[keys.DOSE_MASK], batch[keys.DOSE], 5.0)}


class Known(nn.Module):
    """A codec off by half a Gy everywhere, with a latent and a commitment loss of its own."""

    stride = 4

    def __init__(self, levels: int = 2) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.latent = torch.randn((2, 3, 4, 7, 7), generator=generator, requires_grad=True)
        self.indices = torch.randint(16, (2, levels, 4, 7, 7), generator=generator)

    def forward(self, dose: Tensor, quantise: bool) -> CodecOutput:
        self.seen, self.asked = dose, quantise
        quantised = Quantised(self.latent, self.indices, torch.tensor(0.25))
        return CodecOutput(dose + 0.5 / 70, self.latent, quantised)


class Told(nn.Module):
    def forward(self, real: Tensor, fake: Tensor, mask: Tensor, step: int) -> tuple[Tensor, Tensor]:
        self.seen = (real, fake, mask, step)
        return torch.tensor(2.0), torch.tensor(3.0)


def validate(module: CodecModule, batch: dict) -> None:
    with torch.no_grad():
        module.eval().validation_step(batch, 0)


def logged(module: CodecModule) -> dict[str, float]:
    seen: dict[str, float] = {}

    def log(name: str, value: object, **options: object) -> None:
        seen[name] = float(torch.as_tensor(value).detach()) if isinstance(value, Tensor | float) else math.nan

    module.log = log  # type: ignore[method-assign, assignment]
    return seen


def naive_uniformity(latent: np.ndarray, cells: np.ndarray, temperature: float) -> float:
    rows = np.moveaxis(latent, 1, -1)[cells[:, 0]]
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    gaps = [((rows[i] - rows[j]) ** 2).sum() for i in range(len(rows)) for j in range(i + 1, len(rows))]
    return math.log(np.mean(np.exp(-temperature * np.array(gaps))))


def test_the_loss_is_the_sum_of_its_terms(prepared_root: Path, batch: dict):
    terms = "module.uniformity={weight:0.125,temperature:1.5,positions:100000}"
    module = made(prepared_root, terms, "module.vq_weight=0.5", "module.outside_weight=0.25")
    module.net, module.adversary = Known(), Told()  # type: ignore[assignment]
    seen = logged(module)
    small = {**batch, keys.DOSE_MASK: batch[keys.DOSE_MASK].clone()}
    small[keys.DOSE_MASK][:, :, 4:, 8:] = False
    loss = float(module.training_step(small, 0))
    cells = small[keys.DOSE_MASK].numpy().reshape(2, 1, 4, 4, 7, 4, 7, 4).any(axis=(3, 5, 7))
    expected = naive_uniformity(module.net.latent.detach().numpy(), cells, 1.5)
    assert seen["train/uniformity"] == pytest.approx(expected, rel=1e-5)
    assert seen["train/reconstruction"] == pytest.approx(0.5, rel=1e-5)
    assert seen["train/outside"] == pytest.approx(0.5, rel=1e-5)
    assert (seen["train/commitment"], seen["train/adversarial"], seen["train/discriminator"]) == (0.25, 2.0, 3.0)
    assert loss == pytest.approx(0.5 + 0.25 * 0.5 + 0.5 * 0.25 + 0.125 * expected + 2.0 + 3.0, rel=1e-5)
    assert seen["train/loss"] == pytest.approx(loss, rel=1e-6)


def test_dose_outside_the_mask_is_neither_coded_nor_asked_for(prepared_root: Path, batch: dict):
    module = made(prepared_root)
    module.net, module.adversary = Known(), Told()  # type: ignore[assignment]
    logged(module)
    module.training_step(batch, 0)
    expected = torch.where(batch[keys.DOSE_MASK], batch[keys.DOSE], 0.0) / 70
    torch.testing.assert_close(module.net.seen, expected, rtol=1e-6, atol=0)
    real, fake, mask, step = module.adversary.seen  # type: ignore[union-attr]
    assert torch.equal(real, module.net.seen)
    assert torch.equal(fake, module.net.seen + 0.5 / 70)
    assert (mask is batch[keys.DOSE_MASK], step) == (True, 0)


def test_terms_may_be_left_out(prepared_root: Path, batch: dict):
    off = ["module.uniformity=null", "module.adversary=null", "module.vq_weight=0", "module.outside_weight=0"]
    module = made(prepared_root, *off)
    module.net = Known()  # type: ignore[assignment]
    seen = logged(module)
    assert float(module.training_step(batch, 0)) == pytest.approx(0.5, rel=1e-5)
    assert not {"train/uniformity", "train/adversarial", "train/discriminator"} & seen.keys()


def test_too_few_positions_have_no_uniformity(prepared_root: Path, batch: dict):
    module = made(prepared_root)
    assert module.uniformity is not None
    one = torch.zeros((2, 1, 4, 7, 7), dtype=torch.bool)
    one[0, 0, 1, 2, 3] = True
    latent = Known().latent.detach()
    assert float(module.uniformity.of(latent, one)) == 0.0
    one[1, 0, 0, 0, 0] = True
    rows = latent[0, :, 1, 2, 3], latent[1, :, 0, 0, 0]
    cosine = float(torch.nn.functional.cosine_similarity(*rows, dim=0))
    assert float(module.uniformity.of(latent, one)) == pytest.approx(-2.0 * (2 - 2 * cosine), rel=1e-5)


def test_codes_are_counted_where_there_may_be_dose(prepared_root: Path, batch: dict):
    module = made(prepared_root)
    known = Known()
    module.net = known  # type: ignore[assignment]
    logged(module)
    inside = {**batch, keys.DOSE_MASK: torch.zeros_like(batch[keys.DOSE_MASK])}
    inside[keys.DOSE_MASK][:, :, 1, 9, 26] = True  # one position of the latent
    module.training_step(inside, 0)
    codes = known.indices[:, :, 0, 2, 6].numpy()
    used = [len(set(codes[:, level])) / 16 for level in range(2)]
    counted = {name: float(statistic.compute()) for name, statistic in module.train_codes.items()}  # type: ignore[operator]
    assert counted.pop("perplexity") == pytest.approx(16 * min(used), rel=1e-6)  # two codes at most, used alike
    assert counted == {"usage": min(used), "usage_0": used[0], "usage_1": used[1]}


def test_a_repeated_case_does_not_count(prepared_root: Path, batch: dict):
    module = made(prepared_root)
    seen = logged(module)
    validate(module, batch | {REPEATED: [True, True]})
    assert "val/usage" in seen  # on every process
    usage = module.validation_codes["usage"]
    assert int(usage.counts.sum()) == 0  # type: ignore[operator, union-attr]
    validate(module, batch)
    assert int(usage.counts.sum()) == 2 * 2 * 4 * 7 * 7  # type: ignore[operator, union-attr]


def test_without_codebooks_nothing_is_counted(prepared_root: Path, batch: dict):
    module = made(prepared_root, "~model.quantiser", "+model.quantiser={kind:none}")
    seen = logged(module)
    module.training_step(batch, 0)
    validate(module, batch)
    assert not [name for name in seen if "usage" in name or "perplexity" in name]


@pytest.mark.parametrize(("step", "quantises"), [(0, False), (2, False), (3, True), (9, True)])
def test_latents_are_quantised_and_counted_from_a_step_on(prepared_root: Path, batch: dict, step: int, quantises: bool):
    module = made(prepared_root, "module.quantise_from=3", "module.adversary=null")
    module.net = Known()  # type: ignore[assignment]
    seen = logged(module)
    module.training_step(batch, 0)
    assert module.net.asked  # outside of a training, always
    seen.clear()
    module._trainer = SimpleNamespace(global_step=step)  # type: ignore[assignment]
    module.training_step(batch, 0)
    assert module.net.asked == quantises
    assert ("train/usage" in seen) == quantises
    validate(module, batch)
    assert module.net.asked == quantises
    assert ("val/usage" in seen) == quantises


def test_boxes_are_drawn_from_the_batch(prepared_root: Path, batch: dict):
    module = made(prepared_root, "module.crop_zyx=[8,16,12]", "module.adversary=null")
    sizes = []
    module.net.register_forward_pre_hook(lambda _, given: sizes.append(tuple(given[0].shape)))
    logged(module)
    module.training_step(batch, 0)
    assert sizes == [(2, 1, 8, 16, 12)]
    validate(module, batch)
    assert sizes[1] == (2, 1, 16, 28, 28)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("module.vq_weight=-1", "vq_weight must not be negative; got -1"),
        ("module.outside_weight=-0.5", "outside_weight must not be negative"),
        ("module.quantise_from=-1", "quantise_from must not be negative"),
        ("module.uniformity.weight=-1", r"uniformity\.weight must not be negative"),
        ("module.crop_zyx=[8,8,6]", r"crop_zyx must be three multiples of 4, one of them larger; got \(8, 8, 6\)"),
        ("module.crop_zyx=[4,4,4]", "crop_zyx must be three multiples of 4"),
        ("module.crop_zyx=[8,8]", "crop_zyx must be three multiples of 4"),
    ],
)
def test_impossible_settings_are_refused(prepared_root: Path, override: str, said: str):
    with pytest.raises(InputError, match=said):
        made(prepared_root, override)


@pytest.fixture(scope="module")
def whole(prepared_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """The folder and score of a training nobody interrupted."""
    out = tmp_path_factory.mktemp("stage1")
    score = run(config("train", *TINY, f"data.root={prepared_root}", f"out={out}"))
    assert score is not None
    return out, score


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "logs" / "metrics.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_training_learns_and_tells_how_codes_are_used(whole: tuple[Path, float]):
    told = [row for row in rows(whole[0]) if row["train/loss"]]
    losses = [float(row["train/reconstruction"]) for row in told]
    assert len(losses) == EPOCHS
    assert losses[-1] < 0.7 * losses[0]
    assert [float(row["train/adversarial"]) > 0 for row in told] == [False, True, True, True]  # from step 4 of 12
    for row in told:
        levels = [float(row[f"train/usage_{level}"]) for level in range(2)]
        assert float(row["train/usage"]) == min(levels)
        assert all(level * 16 == round(level * 16) and level <= 1 for level in levels)
        assert 1.0 <= float(row["train/perplexity"]) <= 16 * max(levels)
    assert len([row for row in rows(whole[0]) if row["val/usage"]]) == EPOCHS


def test_the_weights_left_rebuild_the_codec_that_was_scored(whole: tuple[Path, float], prepared_root: Path):
    out, score = whole
    codec = load_codec(out / "model.safetensors")
    errors, used = [], [set(), set()]  # type: ignore[var-annotated]
    for case in PreparedReader(prepared_root, "validation"):
        assert case.dose_gy is not None
        dose = np.zeros((1, 1, 16, 28, 28), np.float32)
        dose[..., :14, :, :] = case.dose_gy[1:-1, 2:-2, 2:-2]  # the box of the dose mask, all of which is mask
        with torch.no_grad():
            output = codec(torch.tensor(dose) / 70)
        errors.append(np.abs(np.maximum(output.dose.numpy() * 70, 0) - dose)[..., :14, :, :].mean())
        for level in range(2):
            used[level] |= set(output.quantised.indices[:, level].flatten().tolist())
    assert score == pytest.approx(np.mean(errors), rel=1e-5)
    last = [row for row in rows(out) if row["val/usage"]][-1]
    assert float(last["val/usage"]) == pytest.approx(min(len(codes) for codes in used) / 16, rel=1e-6)


def test_a_broken_off_training_resumes_to_the_very_same_result(
    whole: tuple[Path, float], prepared_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    step = CodecModule.training_step

    def failing(self: CodecModule, batch: dict, batch_index: int) -> Tensor:
        if self.global_step == 8:  # the last of the third epoch's three
            raise CaseError("must not break off", argument="test")
        return step(self, batch, batch_index)

    cfg = config("train", *TINY, f"data.root={prepared_root}", f"out={tmp_path}")
    monkeypatch.setattr(CodecModule, "training_step", failing)
    with pytest.raises(CaseError, match="must not break off"):
        run(cfg)
    monkeypatch.setattr(CodecModule, "training_step", step)
    assert run(cfg) == whole[1]
    expected = load_file(whole[0] / "model.safetensors")
    torch.testing.assert_close(load_file(tmp_path / "model.safetensors"), expected, rtol=0, atol=0)
    mine, theirs = (torch.load(out / "checkpoints" / "last.ckpt", weights_only=True) for out in (tmp_path, whole[0]))
    torch.testing.assert_close(mine["optimizer_states"], theirs["optimizer_states"], rtol=0, atol=0)
    torch.testing.assert_close(mine["state_dict"], theirs["state_dict"], rtol=0, atol=0)
    assert any(name.startswith("adversary.") for name in mine["state_dict"])
    assert rows(tmp_path) == rows(whole[0])


def test_the_forward_pass_goes_through_the_codec_in_gy(prepared_root: Path, batch: dict):
    module = made(prepared_root)
    module.net = Known()  # type: ignore[assignment]
    torch.testing.assert_close(module(batch[keys.DOSE]), batch[keys.DOSE] + 0.5, rtol=0, atol=1e-4)
