"""Diagnosis for `tessella doctor`: hardware, packages, and the choice of backend for large and shipped models."""

import os
import platform
from dataclasses import replace
from pathlib import Path

from . import backend_rule
from .backend_rule import Machine, NetworkSize
from .backend_timings import TimingsTable, choose, load_table
from .checkpoints.sources import shipped
from .cpu import has_bfloat16, usable_cores
from .packages import installed, version
from .registry import describe, load_model
from .variants import VARIANTS

EXAMPLE = "vit_base_patch16_224"
"""Architecture for which the choice for large networks is shown."""
EXTRAS = {"openvino": "onnx,openvino", "onnxruntime": "onnx", "torch": "torch"}
"""Extras with which a backend runs checkpoints."""
PACKAGES = ("torch", "triton", "onnx", "onnxruntime", "openvino", "timm")


def diagnose(timings: Path | None = None) -> list[tuple[str, str]]:
    """Findings as (subject, finding), in display order. Nothing is timed; on a GPU the shipped models are loaded.

    Args:
        timings: table of `tessella tune`; by default the one in the cache folder.
    """
    machine = Machine.current()
    table = load_table(timings)
    entries = table.entries if table else ()
    return [
        ("tessella", version("tessella")),
        ("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        ("cpu", f"{os.cpu_count()} cores, {usable_cores()} for this process; {_cpu_arithmetic()}"),
        ("gpu", _gpus()),
        *((package, _version(package)) for package in PACKAGES),
        ("large networks on the cpu", _describe_rule(machine)),
        *((name, _choice(name, machine, table)) for name in shipped()),
        *((f"measured {entry.network}", f"{entry.dtype}: {entry.choice.reason}") for entry in entries),
    ]


def _describe_rule(machine: Machine) -> str:
    """Choice of the rule for a large classifier, such as ViT-B/16, and the extra that would be faster."""
    network = NetworkSize.of(VARIANTS[EXAMPLE])
    choice = backend_rule.choose(network, machine)
    everything = replace(machine, runtimes=frozenset(backend_rule.RUNTIMES), exports=True)
    faster = backend_rule.choose(network, everything).backend
    if faster == choice.backend:
        return choice.reason
    return f"{choice.reason}; {faster} would be faster: pip install 'tessella[{EXTRAS[faster]}]'"


def _choice(name: str, machine: Machine, table: TimingsTable | None) -> str:
    if not installed("torch"):
        return "needs torch; .onnx files are served without it"
    import torch

    if torch.cuda.is_available():
        return load_model(name, device="auto").choice
    return choose(describe(name).config, machine, table).reason


def _cpu_arithmetic() -> str:
    if has_bfloat16():
        return "bfloat16 instructions (AVX512-BF16, AMX or Arm BF16)"
    return "no bfloat16 instructions, so models run in float32"


def _gpus() -> str:
    if not installed("torch"):
        return "unknown, as torch is not installed"
    import torch

    if not (count := torch.cuda.device_count()):
        return "none available to torch"
    return ", ".join(f"cuda:{index} {torch.cuda.get_device_name(index)}" for index in range(count))


def _version(package: str) -> str:
    if not installed(package):
        return "not installed"
    if package != "onnxruntime":
        return version(package)
    from .onnx.onnxruntime_model import require_onnxruntime

    return f"{version(package)} with {', '.join(require_onnxruntime().get_available_providers())}"
