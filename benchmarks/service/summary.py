"""Loads of several rounds -> one row of the document; rows of one load -> how tessella compares."""

from collections.abc import Sequence
from typing import Any

from ..timing import Timing
from .load_generator import Load, summarise_load

Cell = dict[str, dict[str, Any]]
"""The rows of one size under one load, by server."""


def summarise_rounds(loads: Sequence[Load]) -> dict[str, Any]:
    """Of all rounds: latencies and counts together; throughput as their median, its spread and each of them."""
    rates = Timing(tuple(load.throughput for load in loads))
    total = loads[0]
    for load in loads[1:]:
        total = total.merged(load)
    spread = rates.spread if rates.median else 0.0
    return {**summarise_load(total), "throughput": rates.median, "spread": spread, "rounds": list(rates.rounds)}


def ratios(cell: Cell) -> list[dict[str, Any]]:
    """tessella against each of the others under one load; above 1 it is better.

    `throughput`: median of the ratios within each round; `range`: least and most of these. `p50`, `p99`: of latencies.
    """
    ours = cell.get("tessella")
    if ours is None:
        return []
    found = []
    for name, theirs in cell.items():
        if theirs is ours:
            continue
        pairs = [a / b for a, b in zip(ours["rounds"], theirs["rounds"], strict=True) if b]
        ratio: dict[str, Any] = {key: ours[key] for key in ("mode", "size", "load")} | {"against": name}
        if pairs:
            ratio |= {"throughput": Timing(tuple(pairs)).median, "range": [min(pairs), max(pairs)]}
        for percentile in ("p50", "p99"):
            mine, other = (row["latency_ms"][percentile] for row in (ours, theirs))
            if mine and other:
                ratio[percentile] = other / mine
        found.append(ratio)
    return found
