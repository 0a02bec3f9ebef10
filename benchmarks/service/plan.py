"""Plan of a run of `tessella bench service`, validated on construction."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..photos import parse_size
from .servers import DEFAULT_PEERS, PEERS
from .targets import TOLERANCE

MODES = ("closed", "open", "overload", "kill")
DEFAULT_LOAD_FRACTION = 0.7
"""Default rate of an open loop, relative to the closed-loop throughput of the slowest server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Servers, loads and durations to measure.

    Attributes:
        modes: of `MODES`.
        sizes: of photographs, as `500x375`, in pixels.
        images: folder of JPEG files that replaces the photographs.
        clients: numbers of clients, one closed loop each.
        rates: requests per second, one open loop each; default: `DEFAULT_LOAD_FRACTION` of the throughput of
            the slowest server in this run's closed loops.
        seconds: per size and load, all servers together; a scenario takes about half of it, and its startup.
        rounds: in which the servers take turns.
        url: of a running service, which is measured alone, since no other server has its model.
        serve_options: further options of `tessella serve`.
        network_options: of timm's `create_model`, for a smaller network.
    """

    architecture: str = "vit_small_patch16_224"
    modes: tuple[str, ...] = ("closed", "open")
    sizes: tuple[str, ...] = ("500x375", "1280x960", "4000x3000")
    images: Path | None = None
    clients: tuple[int, ...] = (1, 8, 32)
    rates: tuple[float, ...] = ()
    seconds: float = 60
    rounds: int = 5
    peers: tuple[str, ...] = DEFAULT_PEERS
    url: str | None = None
    max_batch_size: int = 32
    device: str = "cpu"
    dtype: str = "float32"
    backend: str = "auto"
    serve_options: tuple[str, ...] = ()
    network_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for values, known in ((self.modes, MODES), (self.peers, PEERS), ((self.dtype,), tuple(TOLERANCE))):
            if unknown := set(values) - set(known):
                raise ValueError(f"{', '.join(sorted(unknown))} is not one of {', '.join(known)}")
        for size in self.sizes:
            parse_size(size)
        if min(*self.clients, *self.rates, self.seconds, self.rounds, 1) <= 0:
            raise ValueError("clients, rates, seconds and rounds must be above 0")
        if "open" in self.modes and not self.rates and "closed" not in self.modes:
            raise ValueError("mode open needs a rate, or mode closed in the same run, from which the rate is derived")
        if self.url and {"overload", "kill"} & set(self.modes):
            raise ValueError("modes overload and kill start their own servers and cannot be used with a URL")
