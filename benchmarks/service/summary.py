"""Summaries of loads: rounds to one row of the document; rows of one load to ratios of tessella to the others."""

from collections.abc import Sequence
from typing import Any

from ..timing import Timing
from .load_generator import Load, summarise_load

Cell = dict[str, dict[str, Any]]
"""Rows of one image size and one load, by server."""


def summarise_rounds(loads: Sequence[Load]) -> dict[str, Any]:
    """Row of all rounds: latencies and counts of all together; median, spread and values of their throughput."""
    rates = Timing(tuple(load.throughput for load in loads))
    total = loads[0]
    for load in loads[1:]:
        total = total.merged(load)
    spread = rates.spread if rates.median else 0.0
    return {**summarise_load(total), "throughput": rates.median, "spread": spread, "rounds": list(rates.rounds)}


def ratios(cell: Cell) -> list[dict[str, Any]]:
    """Ratios of tessella to each other server under one load; above 1 tessella is better.

    `throughput`: median of the ratios of each round; `range`: their minimum and maximum. `p50`, `p99`: of latencies.
    """
    ours = cell.get("tessella")
    if ours is None:
        return []
    return [_ratio(ours, row, name) for name, row in cell.items() if row is not ours]


def _ratio(ours: dict[str, Any], other: dict[str, Any], name: str) -> dict[str, Any]:
    rounds = [a / b for a, b in zip(ours["rounds"], other["rounds"], strict=True) if b]
    ratio: dict[str, Any] = {key: ours[key] for key in ("mode", "size", "load")} | {"against": name}
    if rounds:
        ratio |= {"throughput": Timing(tuple(rounds)).median, "range": [min(rounds), max(rounds)]}
    for percentile in ("p50", "p99"):
        our_latency, other_latency = (row["latency_ms"][percentile] for row in (ours, other))
        if our_latency and other_latency:
            ratio[percentile] = other_latency / our_latency
    return ratio
