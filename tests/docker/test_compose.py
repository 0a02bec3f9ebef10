"""compose.yaml and the monitoring files that it mounts: their paths, variables, ports and metrics exist."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tessella.server.observability.metrics import COUNTERS, GAUGES, HISTOGRAMS
from tessella.server.settings import Settings

from ..support import pictures
from ..support.prometheus import samples_of

FOLDER = Path(__file__).parents[2] / "docker"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "monitoring" / "dashboards" / "tessella.json").read_text())
DOCUMENTED = {*COUNTERS, *GAUGES, *(f"{name}_{part}" for name in HISTOGRAMS for part in ("bucket", "sum", "count"))}
SERVERS = ("server", "server-gpu")


def expressions() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel["targets"])


def metrics_of(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:nv|tessella)_\w+", expression))


def test_profiles_select_services() -> None:
    assert {name: service["profiles"] for name, service in COMPOSE["services"].items()} == {
        "server": ["cpu"],
        "server-gpu": ["gpu"],
        "prometheus": ["monitoring"],
        "grafana": ["monitoring"],
    }
    (device,) = COMPOSE["services"]["server-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]


def test_mounted_paths_volumes_and_targets_exist() -> None:
    for service in COMPOSE["services"].values():
        for volume in service["volumes"]:
            source = volume.partition(":")[0]
            assert (FOLDER / source).exists() if source.startswith(".") else source in COMPOSE["volumes"], volume
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), "nothing is open to the network"
    stages = re.findall(r"^FROM \S+ AS (\S+)", (FOLDER / "Dockerfile").read_text(), re.MULTILINE)
    assert {COMPOSE["services"][name]["build"]["target"] for name in SERVERS} <= set(stages)


def test_servers_are_hardened_and_given_time_to_drain() -> None:
    for name in SERVERS:
        service = COMPOSE["services"][name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert set(service["environment"]) <= {f"TESSELLA_{n.upper()}" for n in Settings.model_fields}
        timeout = float(service["environment"]["TESSELLA_DRAIN_TIMEOUT"])
        assert float(service["stop_grace_period"].removesuffix("s")) > 2 * (timeout + 1)


def test_prometheus_scrapes_the_server_and_grafana_queries_prometheus() -> None:
    (job,) = yaml.safe_load((FOLDER / "monitoring" / "prometheus.yaml").read_text())["scrape_configs"]
    host, port = job["static_configs"][0]["targets"][0].split(":")
    for name in SERVERS:
        assert COMPOSE["services"][name]["networks"]["default"]["aliases"] == [host]
        assert COMPOSE["services"][name]["ports"][0].endswith(f":{port}")
    provisioning = FOLDER / "monitoring" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert source["uid"] == DASHBOARD["templating"]["list"][0]["current"]["value"]
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "tessella.yaml").read_text())["providers"]
    mounted = {volume.split(":")[1] for volume in COMPOSE["services"]["grafana"]["volumes"]}
    assert provider["options"]["path"] in mounted


def test_panels_have_distinct_positions_ids_and_titles() -> None:
    positions = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]]
    assert len(set(positions)) == len(positions)
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(positions)
    titles = " ".join(panel["title"] for panel in DASHBOARD["panels"])
    for subject in ("Requests", "Latency by stage", "Batch size", "Queue", "Rejected", "GPU"):
        assert subject in titles
    assert all(panel["datasource"]["uid"] == "${datasource}" for panel in DASHBOARD["panels"])


@pytest.mark.parametrize("expression", [*expressions()])
def test_every_metric_of_the_dashboard_is_documented(expression: str) -> None:
    metrics = metrics_of(expression)
    assert metrics
    assert metrics <= DOCUMENTED
    assert expression.count("(") == expression.count(")")
    counters = {name for name in metrics if re.search(rf"(?:rate|increase)\({name}\[", expression)}
    assert counters == metrics - set(GAUGES), "rates of counters, values of gauges"


def test_panels_group_by_labels_that_the_service_exports(service: str) -> None:
    """Metrics without samples here: those of GPUs, restarts and dropped images."""
    httpx.post(f"{service}/classify", content=pictures.encode(pictures.gradient()))
    httpx.post(f"{service}/classify", content=b"no image")
    labels: dict[str, set[str]] = {}
    for name, own, _ in samples_of(httpx.get(f"{service}/metrics").text):
        labels.setdefault(name, set()).update(own)
    absent = set()
    for expression in expressions():
        by = {label for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(", ")}
        for metric in metrics_of(expression):
            if metric in labels:
                assert by <= labels[metric], expression
            else:
                absent.add(metric)
    conditional = ("nv_gpu_", "tessella_restarts_total", "tessella_images_dropped_total")
    assert all(name.startswith(conditional) for name in absent), absent


def test_legends_use_labels_that_their_expression_groups_by() -> None:
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                assert label == "gpu_uuid" or label in "".join(re.findall(r"by \(([^)]*)\)", target["expr"]))
