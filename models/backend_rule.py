"""Backend rule for CPUs: backend, dtype and batch size from CPU, runtimes and network; nothing is timed. No torch.

It follows the committed measurements (`benchmarks/results/*/models.json`) and is stated in `docs/onnx.md`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from . import costs, cpu
from .config import Config, TNTConfig
from .packages import installed

RUNTIMES = ("torch", "onnxruntime", "openvino")
LARGE_NETWORK = {
    "float32": ("openvino", "onnxruntime", "torch"),
    "bfloat16": ("openvino", "torch"),
    "float16": ("torch",),
}
"""Backends that multiply a dtype, fastest first. float16 was not measured, so it needs no conversion."""
SMALL_NETWORK = ("torch", "openvino", "onnxruntime")
"""Backends of a small network, which gains little from a conversion; always in float32 unless a dtype is requested."""
LARGE_FILE, SMALL_FILE = ("openvino", "onnxruntime"), ("onnxruntime", "openvino")
"""Backends of an .onnx file."""
BATCHED_DTYPES = {"tnt": ("bfloat16",)}
"""Dtypes in which batches of 8 gain more than 5 % images/s, by family; all dtypes for families that are not listed."""
SMALL_MACS = 100_000_000
"""Multiply-accumulates below which a network is small: any backend runs it in a few milliseconds."""
SMALL_BYTES = 8 * 2**20
"""Size of an .onnx file below which it is small; its arithmetic is not known before it is loaded."""
_BATCH_SIZES = (8, 32)
"""Minimum and maximum of the preferred batch size."""
_EXPORT_PACKAGES = ("torch", "onnx", "onnx_ir", "onnxruntime")


@dataclass(frozen=True, slots=True)
class BackendChoice:
    """Choice of backend, dtype and batch size.

    Attributes:
        backend, dtype: `auto` where the choice is left to `load_model`, as on a GPU.
        preferred_batch: largest batch that is worth waiting for; None: no preference.
        reason: clause on what was chosen and by which of rule and table; empty if nothing was.
    """

    backend: str
    dtype: str = "auto"
    preferred_batch: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    """Machine properties that decide: bfloat16 instructions, usable cores, installed runtimes, ability to export."""

    bfloat16: bool
    cores: int
    runtimes: frozenset[str]
    exports: bool

    @classmethod
    def current(cls) -> "Machine":
        """Properties of this machine."""
        runtimes = frozenset(filter(installed, RUNTIMES))
        return cls(cpu.has_bfloat16(), cpu.usable_cores(), runtimes, all(map(installed, _EXPORT_PACKAGES)))


@dataclass(frozen=True, slots=True)
class NetworkSize:
    """Network properties that decide: family, multiply-accumulates, number of classes."""

    family: str
    macs: int
    classes: int

    @classmethod
    def of(cls, config: Config) -> "NetworkSize":
        """Properties of a configuration."""
        return cls("tnt" if isinstance(config, TNTConfig) else "vit", costs.macs(config), config.num_classes)

    @property
    def small(self) -> bool:
        """True below SMALL_MACS."""
        return self.macs < SMALL_MACS


def choose(network: NetworkSize, machine: Machine, *, backend: str = "auto", dtype: str = "auto") -> BackendChoice:
    """Choice for a checkpoint on a CPU: of the requested backend and dtype, or in place of `auto`.

    Raises:
        ValueError: an unknown dtype.
    """
    if dtype not in ("auto", *LARGE_NETWORK):
        raise ValueError(f"dtype {dtype!r} is not one of auto, {', '.join(LARGE_NETWORK)}")
    preferences = auto_dtypes(network, machine) if dtype == "auto" else (dtype,)
    candidates = [
        (name, kind) for kind in preferences for name in _backends(network, machine, kind) if backend in ("auto", name)
    ]
    default = "torch" if backend == "auto" else backend
    chosen, kind = candidates[0] if candidates else (default, preferences[0])
    batch = None if network.small else preferred_batch(network.family, kind, machine.cores)
    return BackendChoice(chosen, kind, batch, _reason(network, chosen, kind, batch, asked=(backend, dtype)))


def auto_dtypes(network: NetworkSize, machine: Machine) -> tuple[str, ...]:
    """Dtypes in order of preference: bfloat16 for large classifiers on CPUs with its instructions, then float32."""
    if network.small or not network.classes or not machine.bfloat16:
        return ("float32",)
    return ("bfloat16", "float32")


def file_backends(size: int, machine: Machine) -> list[str]:
    """Installed backends of an .onnx file of `size` bytes on a CPU, in order of preference."""
    return [name for name in (SMALL_FILE if size < SMALL_BYTES else LARGE_FILE) if name in machine.runtimes]


def file_batch(size: int, family: str, dtype: str, machine: Machine) -> int | None:
    """Preferred batch size of a loaded .onnx file of `size` bytes; None for a small one."""
    return None if size < SMALL_BYTES else preferred_batch(family, dtype, machine.cores)


def preferred_batch(family: str, dtype: str, cores: int) -> int:
    """Largest batch that is worth waiting for: 1 where batches gain too little."""
    return batch_size(cores) if dtype in BATCHED_DTYPES.get(family, (dtype,)) else 1


def batch_size(cores: int) -> int:
    """Batch size where batches gain: an image per core, within bounds."""
    smallest, largest = _BATCH_SIZES
    return max(smallest, min(cores, largest))


def describe_choice(decider: str, parts: Sequence[str], batch: int | None) -> str:
    """Clause: `the rule for CPUs chose openvino, bfloat16 and batches of up to 8`; empty if nothing was chosen."""
    images = [] if batch is None else ["single images" if batch == 1 else f"batches of up to {batch}"]
    *first, last = [*parts, *images] or [""]
    return f"{decider} chose {', '.join(first)}{' and ' if first else ''}{last}" if last else ""


def _backends(network: NetworkSize, machine: Machine, dtype: str) -> list[str]:
    """Installed backends that run a network in a dtype on a CPU, in order of preference."""
    order = LARGE_NETWORK[dtype]
    if network.small:
        order = tuple(name for name in SMALL_NETWORK if name in order)
    return [
        name for name in order if name in machine.runtimes and (name == "torch" or _exports(network, machine, dtype))
    ]


def _exports(network: NetworkSize, machine: Machine, dtype: str) -> bool:
    """True if an ONNX runtime can run the network in the dtype; it has no graph for a network without classes."""
    return machine.exports and network.classes > 0 and (machine.bfloat16 or dtype != "bfloat16")


def _reason(network: NetworkSize, backend: str, dtype: str, batch: int | None, *, asked: tuple[str, str]) -> str:
    parts = [value for value, request in zip((backend, dtype), asked, strict=True) if request == "auto"]
    clause = describe_choice("the rule for CPUs", parts, batch)
    return f"{clause} for a small network" if clause and network.small else clause
