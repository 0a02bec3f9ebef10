"""Everything that only a GPU can tell, in one resumable run: correctness, tune, bench; `make gpu BUDGET=540`.

Most valuable first; each row is saved under results/<gpu>/ as it is done; what the budget did not reach is listed last.
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
from .report import circumstances, write

RESULTS = Path(__file__).parent / "results"
REPOSITORY = Path(__file__).parent.parent
SHARDS = ("bfloat16", "float16 and not bfloat16", "not float16")
"""The GPU tests by dtype, as pytest selects them."""
NO_TESTS = 5
"""pytest's exit code where a shard has none."""
CORRECTNESS_SHARE, TUNING_SHARE, NETWORKS_SHARE = 0.3, 0.35, 0.6


def main() -> int:
    """0 where all is correct and could be measured, whether or not the budget reached everything."""
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
    left, failures = _measured(device, folder, end)
    print(f"not reached, run again: {len(left)}", *left, sep="\n  ")
    print(f"failed: {len(failures)}", *failures, sep="\n  ")
    return 1 if failures else 0


def _correct(folder: Path, limit: float) -> bool:
    """Whether the tests that need a GPU pass; once they did for these sources and versions they are not run again."""
    passed, now = folder / "correct.json", {"sources": tables.source_hash(), "triton": tables.triton_version()}
    if passed.exists() and json.loads(passed.read_text()).items() >= now.items():
        return True
    tests = sorted((REPOSITORY / "tests").rglob("test_*gpu.py"))
    shards = [_shard(file, what) for file in tests for what in SHARDS]
    results = [_ends_well(*shard, limit) for shard in shards]  # of all, so that none is left running
    if correct := all(results):
        passed.write_text(json.dumps(now | circumstances("cuda"), indent=1) + "\n")
    return correct


def _shard(file: Path, what: str) -> tuple[str, "subprocess.Popen[str]", float]:
    """Starts some of a file's tests. Shards run at once: most of their time goes into compiling, on one core each."""
    # without the conftest: it serves, and a machine with a GPU need not have what that takes
    options = ["-q", "--noconftest", "-p", "no:cacheprovider", "-m", "gpu", "-o", "filterwarnings=default", "-k", what]
    command = [sys.executable, "-m", "pytest", *options, str(file)]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return f"{file.name} -k {what!r}", process, time.monotonic()


def _ends_well(name: str, process: "subprocess.Popen[str]", started: float, limit: float) -> bool:
    try:
        said, _ = process.communicate(timeout=max(1.0, started + limit - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        print(f"{name} did not end within {limit:.0f} s; what it compiled is kept, run again")
        return False
    if process.returncode in (0, NO_TESTS):
        return True
    print(f"{name} failed", said[-4000:], sep="\n")
    return False


def _measured(device: torch.device, folder: Path, end: float) -> tuple[list[str], list[str]]:
    """What was not reached, and what failed while everything else went on."""
    failures: list[str] = []

    def failed(what: str, error: Exception) -> None:
        failures.append(f"{what}: {error!r}"[:500])
        _say(f"failed: {failures[-1]}")

    def remaining(share: float) -> float:
        return max(0.0, (end - time.monotonic()) * share)

    ceiling = cuda_timer.ceiling()
    (folder / "ceiling.json").write_text(json.dumps(asdict(ceiling) | circumstances(str(device)), indent=1) + "\n")
    print(f"{ceiling.name}: {ceiling.operations / 1e12:.0f} TFLOP/s, {ceiling.bytes / 1e12:.2f} TB/s measured")
    left = tune(device, budget=remaining(TUNING_SHARE), progress=_say)
    networks, missing = cuda_graphs.measure(
        device,
        ceiling,
        results=folder / "networks.jsonl",
        budget=remaining(NETWORKS_SHARE),
        progress=_say,
        failed=failed,
    )
    left += missing + _words(device, folder, end, failed)
    halves, missing = measure.measure(
        device, ceiling, results=folder / "kernels.jsonl", budget=remaining(1.0), progress=_say, failed=failed
    )
    _print_rows(networks)
    _print_rows(halves)
    return left + missing, failures


def _words(device: torch.device, folder: Path, end: float, failed: Callable[[str, Exception], object]) -> list[str]:
    """TNT's words in each form, with DeiT-S beside: once, as long as the file is there."""
    left = []
    for architecture in ("tnt_s_patch16_224", "tnt_b_patch16_224"):
        file = folder / f"words-{architecture}.json"
        if file.exists():
            continue
        if time.monotonic() > end:
            left.append(f"words of {architecture}")
            continue
        _say(f"words of {architecture}")
        try:
            document = tnt_inner.measure(architecture, 128, device=str(device), dtype="bfloat16", seconds=2)
        except Exception as error:
            failed(f"words of {architecture}", error)
            continue
        write(document, file)
        for row in document["rows"]:
            print(architecture, row["form"], f"{row['milliseconds']:.3f} ms", f"{row['ratio']:.1f} × eager", sep="  ")
    return left


def _print_rows(rows: Sequence[cuda_graphs.Row | measure.Row]) -> None:
    for row in sorted(rows, key=lambda row: str(row.key)):
        seconds = getattr(row, "milliseconds", 0) / 1e3 or getattr(row, "microseconds", 0) / 1e6
        print(
            *row.key, f"{seconds * 1e6:.1f} µs", f"{row.tflops:.0f} TFLOP/s", f"{row.roofline:.0%} of floor", sep="  "
        )


def _say(what: str) -> None:
    print(what, flush=True)


if __name__ == "__main__":
    sys.exit(main())
