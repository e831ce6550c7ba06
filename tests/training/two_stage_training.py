"""Two phantoms with plans, and trainings of a small two-stage net on nothing but them."""

from pathlib import Path

from dosewright.core import PatientCase
from dosewright.io.prepared import PreparedReader, write_case
from dosewright.jobs.train import run
from dosewright.planning.phantom_plans import PhantomReader
from tiny import config

CASES = ("hn_train_0002", "hn_train_0003")
#: The coarsest grid there is: head and neck in 20³ voxels, targets of 60 to 200 voxels.
GRID = {"shape_zyx": (20, 20, 20), "spacing_xyz_mm": (12.0, 12.0, 12.0)}
PLAN = {"beamlet_mm": 15.0, "dose_spacing_mm": None, "iterations": 40}

#: Both phantoms in every step, the same every time, for one epoch; nothing is drawn, averaged or validated.
BOTH = (
    *("data=prepared", "datamodule.batch_size=2", "augmentation=none", "channels_last=true"),
    *("callbacks=no_ema", "callbacks.pictures=null", "trainer=cpu_fp32"),
    *("trainer.max_epochs=1", "trainer.limit_val_batches=0", "trainer.gradient_clip_val=null"),
    *("optimizer.weight_decay=0.0", "+optimizer.betas=[0.9,0.99]", "+optimizer.fused=true"),
    *("scheduler.warmup_steps=20", "scheduler.final_fraction=0.0"),
)
STAGE1 = (
    *("module=stage1", "model=dose_codec", "channels=dose_only", "loss=masked_l1", "module.adversary=null"),
    *("model.latent_channels=32", "model.widths=[16,32,48]", "model.quantiser.codebook_size=64"),
    *("model.quantiser.levels=2",),
)
STAGE2 = (
    *("module=two_stage", "model=two_stage", "model.latent_channels=32", "model.decoder.widths=[16,32,48]"),
    "model.widths=[32,48,64]",
)


def write_phantoms(root: Path) -> Path:
    """Write the two phantoms with their plans as prepared training cases."""
    reader = PhantomReader(root / "plans", count=4, **GRID, **PLAN)  # type: ignore[arg-type]
    for case_id in CASES:
        write_case(root / "train" / f"{case_id}.case", reader.read(case_id))
    return root


def read_phantoms(root: Path) -> list[PatientCase]:
    """Return both cases."""
    reader = PreparedReader(root, split="train")
    return [reader.read(case_id) for case_id in reader.case_ids]


def trained(root: Path, out: Path, steps: int, *overrides: str) -> Path:
    """Train for some steps on both phantoms; return the weights."""
    run(
        config(
            "train", *BOTH, f"datamodule.samples_per_epoch={2 * steps}", *overrides, f"data.root={root}", f"out={out}"
        )
    )
    return out / "model.safetensors"
