"""Samples of an exposition, by Prometheus' own parser."""

from prometheus_client.parser import text_string_to_metric_families

from tessella.server.observability.metrics import COUNTERS


def samples_of(text: str) -> list[tuple[str, dict[str, str], float]]:
    """Name as exposed, labels and value of each sample; the parser adds `_total` to counters that lack it."""
    families = text_string_to_metric_families(text)
    samples = (sample for family in families for sample in family.samples)
    return [(_exposed(sample.name), sample.labels, sample.value) for sample in samples]


def _exposed(name: str) -> str:
    stripped = name.removesuffix("_total")
    return stripped if stripped in COUNTERS else name
