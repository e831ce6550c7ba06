"""Time of one whole-volume prediction at 128³: the shipped net's architecture against MONAI's MedNeXt-S.

    python benchmarks/inference_latency.py [--model unet_half] [--size 128] [--repeats 5]

Both nets take the configured channels, run in evaluation mode on the same random volume with untrained weights, and
predict it in one piece; the first call is not counted. bf16 is autocast. Needs no patients.
"""

import argparse
from functools import partial

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from monai.networks.nets.mednext import create_mednext
from torch import nn

from dosewright.jobs.cli import conf_dir
from dosewright.jobs.hydra_task import register_resolvers
from harness.timing import machine, medians_ms, print_table

PEER = "MedNeXt-S (MONAI)"
PRECISIONS = ("fp32", "bf16")
Row = tuple[str, str, int, float]


def ours(model: str) -> tuple[nn.Module, int]:
    """Return the configured net and its number of channels."""
    register_resolvers()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train", [f"model={model}"])
    channels = len(instantiate(cfg.channels))
    return instantiate(cfg.model, in_channels=channels), channels


def mednext_s(channels: int) -> nn.Module:
    """Return the peer."""
    return create_mednext("S", in_channels=channels, out_channels=1, kernel_size=3)


def measured(name: str, net: nn.Module, image: torch.Tensor, repeats: int) -> list[Row]:
    outputs: dict[str, torch.Tensor] = {}

    def predict(precision: str) -> None:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            outputs[precision] = net(image).float()

    times = medians_ms([partial(predict, precision) for precision in PRECISIONS], repeats)
    worst = float((outputs["bf16"] - outputs["fp32"]).abs().max() / outputs["fp32"].std())
    print(f"{name}: bf16 differs from fp32 by at most {worst:.3f} standard deviations of the output")
    parameters = sum(p.numel() for p in net.parameters())
    return [(name, precision, parameters, ms) for precision, ms in zip(PRECISIONS, times)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="unet_half", help="a file of conf/model")
    parser.add_argument("--size", type=int, default=128, help="edge of the volume in voxels, a multiple of 16")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peer-repeats", type=int, default=1, help="of the peer, which is slow")
    options = parser.parse_args()
    torch.manual_seed(0)
    net, channels = ours(options.model)
    peer = mednext_s(channels)
    image = torch.randn(1, channels, *[options.size] * 3)
    print(machine("monai"))
    print(f"{channels} channels at {options.size}³; median of {options.repeats}, of the peer {options.peer_repeats}")
    rows = measured(f"{type(net).__name__} ({options.model})", net.eval(), image, options.repeats)
    rows += measured(PEER, peer.eval(), image, options.peer_repeats)
    slowest = {precision: ms for name, precision, _, ms in rows if name == PEER}
    print()
    print_table(
        ("net", "precision", "parameters", "s", "times faster"),
        [(n, p, f"{count / 1e6:.1f} M", f"{ms / 1e3:.2f}", f"{slowest[p] / ms:.1f}") for n, p, count, ms in rows],
    )
    print(f"\ntimes faster than {PEER} at the same precision")


if __name__ == "__main__":
    main()
