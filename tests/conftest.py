"""Fixtures shared by all tests: small cases built by hand, and the reference data where it is present."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cases import make_case
from dosewright.core import PatientCase

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture
def case() -> PatientCase:
    return make_case()


@pytest.fixture(scope="session")
def openkbp_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty real training and ten validation patients in the published layout, unpacked once per session."""
    unpack = SHARED / "data" / "openkbp" / "unpack.py"
    if not unpack.exists():
        pytest.skip("the OpenKBP reference data is not beside the project (../shared/data/openkbp)")
    root = tmp_path_factory.mktemp("openkbp")
    for split, first in (("train-pats", "60"), ("validation-pats", "10")):
        subprocess.run(
            [sys.executable, str(unpack), str(root), "--split", split, "--first", first],
            check=True,
            capture_output=True,
        )
    return root


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """One torch thread: small nets train faster so, and add up their numbers in the same order every time."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def prepared_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small prepared cases in train/, validation/ and test/; see tests/tiny.py."""
    from tiny import write_splits

    return write_splits(tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="session")
def weights(prepared_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a small untrained net that predicts some dose everywhere."""
    import torch

    from dosewright.jobs.train import build_module
    from dosewright.training.export import save_weights
    from tiny import training

    torch.manual_seed(0)
    module = build_module(training(prepared_root, Path("unused")))
    with torch.no_grad():
        module.net.head.out.bias.fill_(0.5)  # type: ignore[union-attr]
    return save_weights(tmp_path_factory.mktemp("weights") / "model.safetensors", module)


@pytest.fixture(autouse=True)
def _quiet_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("MPLBACKEND", "Agg")
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
