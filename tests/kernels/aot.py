"""Compiles, without a GPU, what our launchers would launch on one: a program, as it cannot share a process with tests.

`python tests/kernels/aot.py 90` prints a JSON line per kernel compiled for sm_90: what it uses and what its PTX holds.
`--write` also raises the budget in aot_budget.json to those numbers.
"""

import argparse
import inspect
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ["TRITON_INTERPRET"] = "0"

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia import compiler as nvidia
from triton.compiler import ASTSource, make_backend
from triton.runtime.jit import create_function_from_signature

from tessella.kernels import attention as attention_module
from tessella.kernels import backend, ends, ops, tuning
from tessella.kernels import class_attention as class_attention_module
from tessella.kernels import grouped_linear as grouped_linear_module
from tessella.kernels import layer_norm as layer_norm_module
from tessella.kernels import linear as linear_module
from tessella.kernels import patch_embed as patch_embed_module
from tessella.kernels import pooling as pooling_module
from tessella.kernels import resize_crop as resize_crop_module
from tessella.kernels import top_k as top_k_module
from tessella.kernels.devices import Gpu, assume
from tessella.kernels.options import Options, Workspace
from tessella.kernels.tuning import Tile
from tessella.kernels.weights import LinearWeights
from tessella.models.config import ViTConfig
from tessella.models.fold import fold
from tessella.models.fused import FusedViT
from tessella.models.vit import ViT

BUDGET = Path(__file__).with_name("aot_budget.json")
GPUS = {
    80: Gpu("NVIDIA A100-SXM4-80GB", 80, 108),
    89: Gpu("NVIDIA GeForce RTX 4090", 89, 128),
    90: Gpu("NVIDIA H200", 90, 132),
    100: Gpu("NVIDIA B200", 100, 148),
    120: Gpu("NVIDIA GeForce RTX 5090", 120, 170),
}
LAUNCHERS = (
    attention_module,
    class_attention_module,
    grouped_linear_module,
    layer_norm_module,
    linear_module,
    patch_embed_module,
    pooling_module,
    resize_crop_module,
    top_k_module,
)
BASE = ViTConfig(depth=2)
SMALL = ViTConfig(depth=2, dim=384, heads=6, mlp_dim=1536)
TRITON = Options(implementation="triton")
Launch = tuple[Any, Tile, tuple[Any, ...], dict[str, Any]]


@contextmanager
def recorded() -> Iterator[list[Launch]]:
    """Inside, launches are written down instead of run, on tensors that nobody reads."""
    launches: list[Launch] = []

    def record(kernel: Any, grid: object, tile: Tile, *arguments: Any, **constants: Any) -> None:
        launches.append((kernel, tile, arguments, constants))

    kept = [module.launch for module in LAUNCHERS]
    required, backend.unavailable = backend.unavailable, lambda device: None
    for module in LAUNCHERS:
        module.launch = record
    try:
        yield launches
    finally:
        backend.unavailable = required
        for module, launch in zip(LAUNCHERS, kept, strict=True):
            module.launch = launch


def run_network(config: ViTConfig, dtype: torch.dtype, batch: int, **options: bool) -> None:
    network = FusedViT(
        fold(ViT(config), (0.5,) * 3, (0.5,) * 3, dtype=dtype),
        Options(implementation="triton", workspace=Workspace(), **options),
    )
    size = config.image_size
    logits = network(torch.empty(batch, size, size, 3, dtype=torch.uint8))
    ends.top_k(logits, 5, options=TRITON)


def run_everything(arch: int) -> None:
    """The networks and batches whose launches are compiled: all for Hopper, the common ones elsewhere."""
    run_network(BASE, torch.bfloat16, 256)
    run_network(BASE, torch.bfloat16, 1)
    image = torch.empty(480, 640, 3, dtype=torch.uint8)
    ends.resize_crop(image, (341, 256), (58, 16), 224, options=TRITON)
    if arch not in (80, 90):
        return
    run_network(replace(SMALL, depth=1), torch.float32, 64)
    if arch == 90:
        unusual = replace(SMALL, depth=1, feedforward="swiglu", qk_norm=True, pooling="mean")
        run_network(unusual, torch.float16, 64)
        ops.attention(torch.empty(64, 257, 3 * 1280, dtype=torch.bfloat16), 16, options=TRITON)
        x, weight = torch.empty(64, 384), LinearWeights(torch.empty(384, 384))
        ops.linear(x, weight, options=replace(TRITON, tf32=True))
        run_candidates()


def run_candidates() -> None:
    """What the tuner tries on Hopper beyond the heuristic: warp specialisation and programmatic dependent launch."""
    x, statistics = torch.empty(50432, 768, dtype=torch.bfloat16), torch.empty(6, 2, 50432)
    weight = torch.empty(3072, 768, dtype=torch.bfloat16)
    weights = LinearWeights(weight, torch.empty(3072), sums=torch.empty(3072), eps=1e-6)
    specialised = Tile(128, 128, 64, warps=4, stages=3, warp_specialize=True)
    for tile in (specialised, Tile(128, 128, 64, warps=8, stages=3, pdl=True)):
        with replaced(lambda *_, tile=tile: tile):
            ops.linear(x, weights, row_statistics=statistics, activation="gelu", options=TRITON)


@contextmanager
def replaced(choose: Callable[..., Tile]) -> Iterator[None]:
    kept, tuning.linear = tuning.linear, choose
    try:
        yield
    finally:
        tuning.linear = kept


def compile_launch(launch: Launch, arch: int) -> dict[str, Any]:
    """Through triton's own binding of arguments, as a launch would."""
    kernel, tile, arguments, constants = launch
    target = GPUTarget("cuda", arch, 32)
    compiler = make_backend(target)
    keywords = dict(constants, num_warps=tile.warps, num_stages=tile.stages, enable_fp_fusion=True)
    if tile.pdl:
        keywords["launch_pdl"] = True
    binder = create_function_from_signature(kernel.signature, kernel.params, compiler)
    bound, specialization, rest = binder(*arguments, **keywords)
    options, signature, constexprs, attributes = kernel._pack_args(compiler, keywords, bound, specialization, rest)
    source = ASTSource(kernel, signature, constexprs, attributes)
    try:
        compiled = triton.compile(source, target=target, options=options.__dict__)
    except RuntimeError as error:
        raise RuntimeError(f"sm_{arch}: {label(launch, signature)}") from error
    return {"label": label(launch, signature), **read(compiled, arch)}


def label(launch: Launch, signature: dict[str, str]) -> str:
    """Names a specialisation: the kernel, its constants, the launch and which tensors it was given."""
    kernel, tile, _, constants = launch
    constants = {name: value for name, value in constants.items() if name not in ("PARTS", "WIDTH", "PROGRAMS")}
    given = ",".join(kind.removeprefix("*") for kind in signature.values() if kind.startswith(("*", "tensordesc")))
    values = " ".join(f"{name}={value}" for name, value in constants.items() if value is not False)
    return f"{kernel.__name__} {values} warps={tile.warps} stages={tile.stages} ({given})"


def read(compiled: Any, arch: int) -> dict[str, Any]:
    ptx = compiled.asm["ptx"]
    target = re.search(r"\.target (sm_\w+)", ptx)[1]
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(ptx)
        file.flush()
        report = subprocess.run(
            [ptxas(arch), "-v", f"--gpu-name={target}", file.name, "-o", "/dev/null"], capture_output=True, text=True
        )
    if report.returncode:
        raise RuntimeError(f"ptxas for sm_{arch}: {report.stderr[-2000:]}")
    report = report.stderr
    return {
        "registers": int(re.search(r"Used (\d+) registers", report)[1]),
        "spills": int(re.search(r"(\d+) bytes spill stores", report)[1]),
        "shared": compiled.metadata.shared,
        "wgmma": ptx.count("wgmma.mma_async"),
        "tcgen05": ptx.count("tcgen05.mma"),
        "tma": ptx.count("cp.async.bulk.tensor"),
        "setmaxnreg": ptx.count("setmaxnreg"),
        "griddepcontrol": ptx.count("griddepcontrol.wait"),
        "tf32": ptx.count(".tf32"),
        "mma": len(re.findall(r"\b(?:mma\.sync|wgmma\.mma_async|tcgen05\.mma)", ptx)),
        "scratch": getattr(compiled.metadata, "global_scratch_size", 0) or 0,
    }


def ptxas(arch: int) -> str:
    """The assembler that this version of triton takes for it."""
    return str(
        nvidia.get_ptxas(arch).path if inspect.signature(nvidia.get_ptxas).parameters else nvidia.get_ptxas().path
    )


def compile_everything(arch: int) -> Iterator[dict[str, Any]]:
    with assume(GPUS[arch]), recorded() as launches, torch.inference_mode():
        run_everything(arch)
    seen: set[str] = set()
    for launch in launches:
        name = repr((launch[0].__name__, launch[1], launch[3], [str(getattr(x, "dtype", type(x))) for x in launch[2]]))
        if name not in seen:
            seen.add(name)
            yield compile_launch(launch, arch)


def merge_budget(arch: int, rows: list[dict[str, Any]]) -> None:
    """Adds to the committed budget: the most that any version of triton it was run with needed."""
    budget = json.loads(BUDGET.read_text()) if BUDGET.exists() else {}
    entries = budget.setdefault(str(arch), {})
    for row in rows:
        old = entries.get(row["label"], {})
        entries[row["label"]] = {key: max(row[key], old.get(key, 0)) for key in ("registers", "spills", "shared")}
    BUDGET.write_text(json.dumps(budget, indent=1, sort_keys=True) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("arch", type=int, choices=GPUS)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    rows = []
    for row in compile_everything(arguments.arch):
        print(json.dumps(row), flush=True)
        rows.append(row)
    if arguments.write:
        merge_budget(arguments.arch, rows)


if __name__ == "__main__":
    main()
