"""Compiler of recorded launches for absent GPUs: resources from ptxas' report, instruction counts from the PTX."""

import re
from typing import Any, NamedTuple

import triton
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia import compiler as nvidia
from triton.compiler import ASTSource, make_backend
from triton.runtime.jit import create_function_from_signature

from .launches import Launch


class Bound(NamedTuple):
    """Arguments of a launch bound for compilation; launches with the same key share a kernel."""

    source: ASTSource
    options: dict[str, Any]
    key: object


def bind(launch: Launch, arch: int) -> Bound:
    """Bind arguments with triton's own binder, as a launch does."""
    kernel, config, arguments, constants = launch
    compiler = make_backend(GPUTarget("cuda", arch, 32))
    keywords = dict(constants, num_warps=config.num_warps, num_stages=config.num_stages, enable_fp_fusion=True)
    if config.pdl:
        keywords["launch_pdl"] = True
    binder = create_function_from_signature(kernel.signature, kernel.params, compiler)
    bound, specialization, rest = binder(*arguments, **keywords)
    options, signature, constexprs, attributes = kernel._pack_args(compiler, keywords, bound, specialization, rest)
    return Bound(ASTSource(kernel, signature, constexprs, attributes), options.__dict__, specialization)


def compile_launch(launch: Launch, arch: int) -> dict[str, Any]:
    """Compile a launch: its registers, spills and shared memory, and instruction counts of its PTX."""
    bound = bind(launch, arch)
    try:
        with _ptxas_report():
            compiled = triton.compile(bound.source, target=GPUTarget("cuda", arch, 32), options=bound.options)
    except RuntimeError as error:
        raise RuntimeError(f"sm_{arch}: {label(launch)}") from error
    return {"arch": arch, "label": label(launch), **_read(compiled)}


def label(launch: Launch) -> str:
    """Label of a specialisation: kernel, constants, launch options and dtypes of the tensors."""
    kernel, config, arguments, constants = launch
    constants = {name: value for name, value in constants.items() if name not in ("PARTS", "WIDTH", "PROGRAMS")}
    values = " ".join(f"{name}={value}" for name, value in constants.items() if value is not False)
    dtypes = ",".join(filter(None, map(_dtype, arguments)))
    return f"{kernel.__name__} {values} num_warps={config.num_warps} num_stages={config.num_stages} ({dtypes})"


def _dtype(argument: Any) -> str:
    """Short dtype of a tensor, as `bf16`; `tma` for a descriptor, empty for a number."""
    if hasattr(argument, "block_shape"):
        return "tma"
    if not hasattr(argument, "dtype"):
        return ""
    name = str(argument.dtype).removeprefix("torch.")
    return name.replace("float", "fp").replace("bfp", "bf").replace("uint", "u").replace("int", "i")


class _ptxas_report:  # noqa: N801
    """Context manager: store ptxas' report in the metadata of compiled kernels, and so in triton's cache."""

    def __enter__(self) -> None:
        self._make = make = nvidia.CUDABackend.make_cubin

        def make_cubin(backend: Any, source: Any, metadata: dict[str, Any], *rest: Any) -> Any:
            printed: list[str] = []
            names, knob = vars(nvidia), nvidia.knobs.nvidia
            kept, knob.dump_ptxas_log = knob.dump_ptxas_log, True
            names["print"] = lambda *lines: printed.extend(map(str, lines))
            try:
                return make(backend, source, metadata, *rest)
            finally:
                del names["print"]
                knob.dump_ptxas_log = kept
                metadata["assembler"] = "\n".join(printed)

        nvidia.CUDABackend.make_cubin = make_cubin

    def __exit__(self, *_: object) -> None:
        nvidia.CUDABackend.make_cubin = self._make


def _read(compiled: Any) -> dict[str, Any]:
    ptx, report = compiled.asm["ptx"], compiled.metadata.assembler
    return {
        "registers": _number(r"Used (\d+) registers", report),
        "spills": _number(r"(\d+) bytes spill stores", report),
        "shared": compiled.metadata.shared,
        "wgmma": ptx.count("wgmma.mma_async"),
        "tcgen05": ptx.count("tcgen05.mma"),
        "tma": ptx.count("cp.async.bulk.tensor"),
        "griddepcontrol": ptx.count("griddepcontrol.wait"),
        "tf32": ptx.count(".tf32"),
        "mma": len(re.findall(r"\b(?:mma\.sync|wgmma\.mma_async|tcgen05\.mma)", ptx)),
        "scratch": getattr(compiled.metadata, "global_scratch_size", 0) or 0,
    }


def _number(pattern: str, report: str) -> int:
    match = re.search(pattern, report)
    if match is None:
        raise RuntimeError(f"ptxas' report does not match {pattern!r}: {report[-2000:]}")
    return int(match[1])
