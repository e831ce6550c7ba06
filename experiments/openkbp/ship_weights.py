"""Turn a training's weights into the ones that ship: float16, with the scores in the metadata.

python experiments/openkbp/ship_weights.py outputs/train/openkbp_direct/model.safetensors scores/metrics.json
python experiments/openkbp/ship_weights.py RUN/model.safetensors scores/metrics.json openkbp_two_stage.safetensors
"""

import json
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from dosewright.core.files import atomic_path
from dosewright.inference.weights import DEFAULT_WEIGHTS

FOLDER = Path(__file__).resolve().parents[2] / "src" / "dosewright" / "weights"


def main(weights: Path, metrics: Path, name: str = DEFAULT_WEIGHTS) -> None:
    """Write the float16 file and say how large it is."""
    with safe_open(weights, "pt") as stream:
        description = json.loads(stream.metadata()["dosewright"])
        tensors = {name: stream.get_tensor(name).to(torch.float16) for name in stream.keys()}  # noqa: SIM118
    scores = json.loads(metrics.read_text())
    description["notes"]["validation"] = {key: scores[key] for key in ("dose_score", "dvh_score", "n_patients")}
    target = FOLDER / name
    with atomic_path(target) as temporary:
        save_file(tensors, temporary, metadata={"dosewright": json.dumps(description)})
    print(f"{target.name}: {target.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
