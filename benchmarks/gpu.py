"""Everything that only a GPU can tell, in one resumable run: correctness, tune, bench; `make gpu BUDGET=540`.

Most valuable first; each row is saved under results/<gpu>/ as it is done; what the budget did not reach is listed last.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from ..kernels import tables
from ..kernels.devices import gpu_of
from . import gpu_clock, kernels, network_graphs
from .report import circumstances
from .tune import tune

RESULTS = Path(__file__).parent / "results"
REPOSITORY = Path(__file__).parent.parent
CORRECTNESS_SHARE, TUNING_SHARE, NETWORKS_SHARE = 0.3, 0.35, 0.6


def main() -> int:
    """0 where all is correct, whether or not the budget reached everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", type=float, default=540, help="seconds for all of it")
    budget = parser.parse_args().budget
    if not torch.cuda.is_available():
        print("no NVIDIA GPU here: nothing of this can be measured")
        return 2
    end = time.monotonic() + budget
    device = torch.device("cuda", torch.cuda.current_device())
    folder = RESULTS / gpu_of(device).slug
    folder.mkdir(parents=True, exist_ok=True)
    if not _correct(folder, budget * CORRECTNESS_SHARE):
        return 1
    left = _measured(device, folder, end)
    print(f"not reached, run again: {len(left)}", *left, sep="\n  ")
    return 0


def _correct(folder: Path, limit: float) -> bool:
    """Whether the tests that need a GPU pass; once they did for these sources and versions they are not run again."""
    passed, now = folder / "correct.json", {"sources": tables.source_hash(), "triton": tables.triton_version()}
    if passed.exists() and json.loads(passed.read_text()).items() >= now.items():
        return True
    # without the conftest: it serves, and a machine with a GPU need not have what that takes
    command = [sys.executable, "-m", "pytest", "-q", "--noconftest", "-m", "gpu", "-o", "filterwarnings=default"]
    tests = sorted(str(path) for path in (REPOSITORY / "tests").rglob("test_*gpu.py"))
    try:
        code = subprocess.run([*command, *tests], cwd=REPOSITORY, timeout=limit, check=False).returncode
    except subprocess.TimeoutExpired:
        print(f"the GPU tests did not end within {limit:.0f} s")
        return False
    if code == 0:
        passed.write_text(json.dumps(now | circumstances("cuda"), indent=1) + "\n")
    return code == 0


def _measured(device: torch.device, folder: Path, end: float) -> list[str]:
    def remaining(share: float) -> float:
        return max(0.0, (end - time.monotonic()) * share)

    ceiling = gpu_clock.ceiling()
    (folder / "ceiling.json").write_text(json.dumps(asdict(ceiling) | circumstances("cuda"), indent=1) + "\n")
    print(f"{ceiling.name}: {ceiling.operations / 1e12:.0f} TFLOP/s, {ceiling.bytes / 1e12:.2f} TB/s measured")
    left = tune(device, budget=remaining(TUNING_SHARE), progress=_say)
    networks, missing = network_graphs.measure(
        device, ceiling, results=folder / "networks.jsonl", budget=remaining(NETWORKS_SHARE), progress=_say
    )
    left += missing
    halves, missing = kernels.measure(
        device, ceiling, results=folder / "kernels.jsonl", budget=remaining(1.0), progress=_say
    )
    _print_rows(networks)
    _print_rows(halves)
    return left + missing


def _print_rows(rows: Sequence[network_graphs.Row | kernels.Row]) -> None:
    for row in sorted(rows, key=lambda row: str(row.key)):
        seconds = getattr(row, "milliseconds", 0) / 1e3 or getattr(row, "microseconds", 0) / 1e6
        print(
            *row.key, f"{seconds * 1e6:.1f} µs", f"{row.tflops:.0f} TFLOP/s", f"{row.roofline:.0%} of floor", sep="  "
        )


def _say(what: str) -> None:
    print(what, flush=True)


if __name__ == "__main__":
    sys.exit(main())
