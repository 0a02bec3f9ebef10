"""What `tessella bench service` is to measure: one frozen object, checked when it is made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..photos import parse_size
from .contestants import TOLERANCE
from .servers import DEFAULT_PEERS, PEERS

MODES = ("closed", "open", "overload", "kill")
OPEN_SHARE = 0.7
"""An open loop's rate, where none is given: this part of what the slowest server can answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to measure.

    `sizes`: of photographs, as `500x375`; `images`: a folder of JPEG files that take their place.
    `clients`: of closed loops; `rates`: requests per second of open loops, by default `OPEN_SHARE` of what the slowest
    server answers in this run's closed loops.
    `seconds`: of each size under each load, all servers together; a scenario takes about half as much, and its starts.
    `url`: measures a service that runs already, by itself: nobody else has its model.
    `serve_options`: further options of `tessella serve`. `network_options`: timm's, for a smaller network.
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
        for value, known in ((self.modes, MODES), (self.peers, PEERS), ((self.dtype,), tuple(TOLERANCE))):
            if unknown := set(value) - set(known):
                raise ValueError(f"{', '.join(sorted(unknown))} is not one of {', '.join(known)}")
        for size in self.sizes:
            parse_size(size)
        if min(*self.clients, *self.rates, self.seconds, self.rounds, 1) <= 0:
            raise ValueError("clients, rates, seconds and rounds must be above 0")
        if "open" in self.modes and not self.rates and "closed" not in self.modes:
            raise ValueError("an open loop needs a rate, or a closed loop in the same run to take one from")
        if self.url and {"overload", "kill"} & set(self.modes):
            raise ValueError("overload and kill start servers of their own and have no use for a URL")
