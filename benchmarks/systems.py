"""Time and memory of every system, as ratios to text_only in the same run. Run with `make bench`.

The same batch of made-up features for all: training steps (forward, backward, AdamW) and forward samples a second, and the
peak memory of a training step. Ratios are what carries over to another machine, roughly; what does not depend on a machine
stands in results/<edition>/tables/cost.md.
"""

import argparse
import platform
import resource
import subprocess
import sys

import torch
from torch.utils.benchmark import Timer

from gexsent.model import SYSTEMS, Batch, ModelConfig, build, fine_tuned
from gexsent.training.device import pick_device

BASELINE = "text_only"
FROZEN = [name for name in SYSTEMS if not fine_tuned(name)]  # the others need the layers of an encoder
# Lite's sizes, and a batch of lite's: text as MiniLM gives it, seven by seven patches of a picture.
BATCH, TEXT, VISION = 64, (24, 384), (49, 576)  # samples; tokens, features
SIZES = {
    "outputs": {"intensity": 1, "sentiment": 3},
    "width": 128,
    "experts": 4,
    "expert_width": 128,
    "top_k": 2,
    "attention_heads": 4,
    "dropout": 0.2,
    "balance_weight": 0.01,
    "z_weight": 0.001,
    "group_weight": 0.01,
    "temporal": False,
    "frames": VISION[0],
}
COLUMNS = ("steps a second", "samples a second", "memory, MB")


def measure(system: str, seconds: float) -> tuple[float, float, float]:
    """Training steps a second, forward samples a second, and MB at the peak of a training step (on a CPU: by which the
    process grew; it is a fresh one for each system)."""
    device = pick_device()
    torch.set_num_threads(1)  # as the training processes do
    torch.manual_seed(0)
    config = ModelConfig(system=system, text_features=TEXT[1], vision_features=VISION[1], **SIZES)
    sides = [(torch.randn(BATCH, *size), torch.ones(BATCH, size[0], dtype=torch.bool)) for size in (TEXT, VISION)]
    batch = Batch(*sides[0], *sides[1]).to(device)
    before = _memory(device)
    model = build(config).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        output = model(batch)
        loss = sum(head.square().mean() for head in output.heads.values()) + sum(output.losses.values())
        loss.backward()
        optimizer.step()

    def forward() -> None:
        with torch.inference_mode():
            model(batch)

    steps = 1 / _median(step, seconds)
    memory = (_memory(device) - before) / 2**20
    model.eval()
    return steps, BATCH / _median(forward, seconds), memory


def _median(call, seconds: float) -> float:
    timer = Timer("call()", globals={"call": call}, num_threads=torch.get_num_threads())
    return timer.blocked_autorange(min_run_time=seconds).median


def _memory(device: str) -> int:
    """Bytes at the peak so far."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("systems", nargs="*", help="default: all but fine-tuned ones")
    parser.add_argument("--seconds", type=float, default=2.0, help="time spent on each measurement")
    parser.add_argument("--alone", action="store_true", help="print the numbers of one system, bare")
    options = parser.parse_args()
    if options.alone:
        print(*measure(options.systems[0], options.seconds))
        return
    name = torch.cuda.get_device_name() if pick_device() == "cuda" else f"one CPU thread, {platform.machine()}"
    print(f"systems on {name}, {platform.system()}, torch {torch.__version__}; as ratios to {BASELINE}")
    base = None
    for system in dict.fromkeys([BASELINE, *(options.systems or FROZEN)]):
        # A process each: memory that one system has asked for cannot be told from that of the next.
        command = [sys.executable, __file__, system, "--alone", f"--seconds={options.seconds}"]
        result = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found = [float(number) for number in result.split()]
        if base is None:
            base = found
            print(f"{BASELINE}: " + ", ".join(f"{v:,.1f} {c}" for v, c in zip(found, COLUMNS, strict=True)) + "\n")
            print(f"{'':24}" + "".join(f"{column:>20}" for column in COLUMNS))
        print(f"{system:24}" + "".join(f"{value / start:20.3f}" for value, start in zip(found, base, strict=True)))


if __name__ == "__main__":
    main()
