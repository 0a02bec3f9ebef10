"""`tessella doctor`: what this machine has, and what the shipped models get on it."""

import importlib.metadata
import importlib.util
import os
import platform

from .cpu import has_bfloat16
from .cpu_choice import remembered
from .precision import limit_threads
from .registry import load_model, shipped

PACKAGES = ("torch", "triton", "onnxruntime", "openvino", "timm")


def examine() -> list[tuple[str, str]]:
    """Findings as (what, found) in the order to read them. Loads and measures the shipped models."""
    import torch

    threads = limit_threads()
    findings = [
        ("tessella", importlib.metadata.version("tessella")),
        ("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        ("cpu", f"{os.cpu_count()} cores, torch uses {threads} threads; {_cpu_arithmetic()}"),
        ("gpu", _gpus(torch.cuda.device_count())),
    ]
    findings += [(package, _version(package)) for package in PACKAGES]
    findings += [(name, load_model(name, device="auto").choice) for name in shipped()]
    return findings + [("remembered", choice) for choice in remembered()]


def _cpu_arithmetic() -> str:
    if has_bfloat16():
        return "multiplies bfloat16 (AVX512-BF16, AMX or Arm BF16)"
    return "has no bfloat16 instructions, so float32 it is"


def _gpus(count: int) -> str:
    import torch

    if not count:
        return "none that torch can use"
    return ", ".join(f"cuda:{index} {torch.cuda.get_device_name(index)}" for index in range(count))


def _version(package: str) -> str:
    if importlib.util.find_spec(package) is None:
        return "not installed"
    return importlib.metadata.version(package)
