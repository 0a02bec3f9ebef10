"""Times -> percentiles, and nothing where there are too few of them to name one."""

from collections.abc import Sequence

import numpy as np

PERCENTILES = (50.0, 95.0, 99.0, 99.9)


def summarise(seconds: Sequence[float]) -> dict[str, float | None]:
    """Milliseconds: mean, p50, p95, p99, p99.9 and max.

    None for a percentile that fewer than one of these times lies above: the p99.9 of 200 times would be their maximum.
    """
    values = np.asarray(seconds, dtype=np.float64) * 1e3
    found: dict[str, float | None] = {"mean": float(values.mean()) if len(values) else None}
    for percentile in PERCENTILES:
        enough = len(values) * (100 - percentile) / 100 >= 1 - 1e-9
        found[f"p{percentile:g}"] = float(np.percentile(values, percentile)) if enough else None
    return found | {"max": float(values.max()) if len(values) else None}
