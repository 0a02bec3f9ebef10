"""Diagnosis for `tessella doctor`: hardware, packages, and the backends chosen for the shipped models."""

import os
import platform

from .backend_timings import recorded_choices
from .checkpoints.sources import shipped
from .cpu import has_bfloat16, usable_cores
from .packages import installed, version
from .registry import load_model

PACKAGES = ("torch", "triton", "onnx", "onnxruntime", "openvino", "timm")


def diagnose() -> list[tuple[str, str]]:
    """Findings as (subject, finding), in display order. Loads and measures the shipped models."""
    findings = [
        ("tessella", version("tessella")),
        ("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        ("cpu", f"{os.cpu_count()} cores, {usable_cores()} for this process; {_cpu_arithmetic()}"),
        ("gpu", _gpus()),
        *((package, _version(package)) for package in PACKAGES),
        *((name, _choice(name)) for name in shipped()),
    ]
    return findings + [("measured", choice) for choice in recorded_choices()]


def _choice(name: str) -> str:
    if not installed("torch"):
        return "needs torch; .onnx files are served without it"
    from .execution.dtype import limit_threads

    limit_threads()
    return load_model(name, device="auto").choice


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
