"""CPU properties: usable cores, bfloat16 instructions, name. No torch."""

import math
import os
import platform
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}


def has_bfloat16(cpuinfo: Path = CPUINFO) -> bool:
    """True if the CPU has bfloat16 products: AVX512-BF16, AMX or Arm's BF16. False without Linux's `cpuinfo`."""
    flags = next((line for line in _lines(cpuinfo) if line.lower().startswith(("flags", "features"))), "")
    return not _BFLOAT16_FLAGS.isdisjoint(flags.split())


def name(cpuinfo: Path = CPUINFO) -> str:
    """CPU model name, or the architecture if that is unknown."""
    models = (line.partition(":")[2].strip() for line in _lines(cpuinfo) if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())


def usable_cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Cores in this process's affinity, limited by the quota of its control group (cgroup v2)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        limit, period = quota.read_text().split()
        return cores if limit == "max" else max(1, min(cores, math.ceil(int(limit) / int(period))))
    except (OSError, ValueError):
        return cores


def _lines(cpuinfo: Path) -> list[str]:
    try:
        return cpuinfo.read_text().splitlines()
    except OSError:
        return []
