"""GPU benchmark session: tests, tuning and benchmarks that need a GPU, in one resumable run (`make gpu BUDGET=540`).

Most valuable first; each row is saved under results/<gpu>/ when it is measured; the last lines list what is missing.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from ..kernels.device import gpu_of
from ..kernels.tuning import tables
from .networks import cuda_graphs, tnt_inner
from .operators import cuda_timer, measure
from .operators.tune import tune
from .report import environment, write

RESULTS = Path(__file__).parent / "results"
REPOSITORY = Path(__file__).parent.parent
SHARDS = ("bfloat16", "float16 and not bfloat16", "not float16")
"""GPU tests by dtype, as expressions of `pytest -k`."""
NO_TESTS = 5
"""Exit code of pytest where a shard has no tests."""
CORRECTNESS_SHARE, TUNING_SHARE, NETWORKS_SHARE = 0.3, 0.35, 0.6


def main() -> int:
    """Run the session; 0 where all tests pass and no measurement failed, even where the budget was too short."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", type=float, default=540, help="seconds for the whole session (default: 540)")
    budget = parser.parse_args().budget
    if not torch.cuda.is_available():
        print("no NVIDIA GPU found: nothing can be measured")
        return 2
    end = time.monotonic() + budget
    device = torch.device("cuda", torch.cuda.current_device())
    folder = RESULTS / gpu_of(device).slug
    folder.mkdir(parents=True, exist_ok=True)
    if not _tests_pass(folder, budget * CORRECTNESS_SHARE):
        return 1
    remaining, failures = _measure(device, folder, end)
    print(f"not measured in time, run again: {len(remaining)}", *remaining, sep="\n  ")
    print(f"failed: {len(failures)}", *failures, sep="\n  ")
    return 1 if failures else 0


def _tests_pass(folder: Path, limit: float) -> bool:
    """Run the tests that need a GPU, unless they passed before with the same sources and versions."""
    record, versions = folder / "correct.json", {"sources": tables.source_hash(), "triton": tables.triton_version()}
    if record.exists() and json.loads(record.read_text()).items() >= versions.items():
        return True
    files = sorted((REPOSITORY / "tests").rglob("test_*gpu.py"))
    shards = [_start_shard(file, expression) for file in files for expression in SHARDS]
    results = [_passed(*shard, limit) for shard in shards]  # waits for all, so that none keeps running
    if passed := all(results):
        record.write_text(json.dumps(versions | environment("cuda"), indent=1) + "\n")
    return passed


def _start_shard(file: Path, expression: str) -> tuple[str, "subprocess.Popen[str]", float]:
    """Start some tests of a file. Shards run at once: most of their time is compilation, on one core each."""
    # without the conftest: it starts a service, whose packages a machine with a GPU may lack
    options = ["-q", "--noconftest", "-p", "no:cacheprovider", "-m", "gpu", "-o", "filterwarnings=default"]
    command = [sys.executable, "-m", "pytest", *options, "-k", expression, str(file)]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return f"{file.name} -k {expression!r}", process, time.monotonic()


def _passed(name: str, process: "subprocess.Popen[str]", started: float, limit: float) -> bool:
    try:
        output, _ = process.communicate(timeout=max(1.0, started + limit - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        print(f"{name} did not end within {limit:.0f} s; compiled kernels are cached, run again")
        return False
    if process.returncode in (0, NO_TESTS):
        return True
    print(f"{name} failed", output[-4000:], sep="\n")
    return False


def _measure(device: torch.device, folder: Path, end: float) -> tuple[list[str], list[str]]:
    """Tune and benchmark until `end`; returns the names of missing measurements, and the failures."""
    failures: list[str] = []

    def on_error(name: str, error: Exception) -> None:
        failures.append(f"{name}: {error!r}"[:500])
        _print(f"failed: {failures[-1]}")

    def budget(share: float) -> float:
        return max(0.0, (end - time.monotonic()) * share)

    ceiling = cuda_timer.measure_ceiling()
    (folder / "ceiling.json").write_text(json.dumps(asdict(ceiling) | environment(str(device)), indent=1) + "\n")
    flops, bandwidth = ceiling.flops_per_second / 1e12, ceiling.bytes_per_second / 1e12
    print(f"{ceiling.name}: {flops:.0f} TFLOP/s, {bandwidth:.2f} TB/s measured")
    remaining = tune(device, budget=budget(TUNING_SHARE), progress=_print)
    networks, missing = cuda_graphs.measure(
        device,
        ceiling,
        results=folder / "networks.jsonl",
        budget=budget(NETWORKS_SHARE),
        progress=_print,
        on_error=on_error,
    )
    remaining += missing + _measure_tnt_inner(device, folder, end, on_error)
    kernels, missing = measure.measure(
        device, ceiling, results=folder / "kernels.jsonl", budget=budget(1.0), progress=_print, on_error=on_error
    )
    _print_rows(networks)
    _print_rows(kernels)
    return remaining + missing, failures


def _measure_tnt_inner(
    device: torch.device, folder: Path, end: float, on_error: Callable[[str, Exception], object]
) -> list[str]:
    """Measure TNT's inner blocks in each form, with DeiT-S beside, unless the file exists; returns what is missing."""
    remaining = []
    for architecture in ("tnt_s_patch16_224", "tnt_b_patch16_224"):
        file = folder / f"tnt-inner-{architecture}.json"
        name = f"inner blocks of {architecture}"
        if file.exists():
            continue
        if time.monotonic() > end:
            remaining.append(name)
            continue
        _print(name)
        try:
            document = tnt_inner.measure(architecture, 128, device=str(device), dtype="bfloat16", seconds=2)
        except Exception as error:
            on_error(name, error)
            continue
        write(document, file)
        for row in document["rows"]:
            print(architecture, row["form"], f"{row['milliseconds']:.3f} ms", f"{row['ratio']:.1f} × eager", sep="  ")
    return remaining


def _print_rows(rows: Sequence[cuda_graphs.Row | measure.Row]) -> None:
    for row in sorted(rows, key=lambda row: str(row.key)):
        seconds = getattr(row, "milliseconds", 0) / 1e3 or getattr(row, "microseconds", 0) / 1e6
        figures = f"{seconds * 1e6:.1f} µs", f"{row.tflops:.0f} TFLOP/s", f"{row.roofline:.0%} of roofline"
        print(*row.key, *figures, sep="  ")


def _print(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
