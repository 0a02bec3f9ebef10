"""Metrics in Prometheus' text format: counts of requests, sums over processes, restarts."""

import os
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tessella.server.observability.metrics import COUNTERS, GAUGES, HISTOGRAMS, Metrics, merge, render, without_gauges
from tessella.server.settings import Settings

from ...support import pictures
from ...support.gated_runner import GatedRunner
from ...support.live import Process, gated
from ...support.prometheus import samples_of

PNG = pictures.encode(pictures.gradient())


def samples_by_key(text: str) -> dict[str, float]:
    return {name + str(sorted(labels.items())): value for name, labels, value in samples_of(text)}


def value(url: str, name: str, **labels: str) -> float:
    """Sum over the samples of a metric that have these labels."""
    samples = samples_of(httpx.get(f"{url}/metrics").text)
    return sum(value for key, own, value in samples if key == name and labels.items() <= own.items())


def test_histogram_buckets_are_cumulative() -> None:
    metrics = Metrics()
    for size in (1, 1, 3, 600):
        metrics.observe("tessella_batch_size", size, model="a")
    samples = samples_by_key(render(metrics.snapshot()))
    labels = "[('le', '{}'), ('model', 'a')]"
    assert [
        samples["tessella_batch_size_bucket" + labels.format(bound)] for bound in ("1.0", "2.0", "4.0", "+Inf")
    ] == [2, 2, 3, 4]
    assert samples["tessella_batch_size_sum[('model', 'a')]"] == 605
    assert samples["tessella_batch_size_count[('model', 'a')]"] == 4


def test_snapshots_are_summed_and_exited_processes_keep_counters() -> None:
    one, other = Metrics(), Metrics()
    for metrics in (one, other):
        metrics.count("nv_inference_count", 3, model="a")
        metrics.set("nv_inference_pending_request_count", 2, model="a")
        metrics.observe("tessella_batch_size", 3, model="a")
    samples = samples_by_key(render(merge([one.snapshot(), without_gauges(other.snapshot())])))
    assert samples["nv_inference_count[('model', 'a')]"] == 6
    assert samples["nv_inference_pending_request_count[('model', 'a')]"] == 2
    assert samples["tessella_batch_size_count[('model', 'a')]"] == 2


def test_label_values_are_escaped() -> None:
    metrics = Metrics()
    metrics.count("tessella_restarts_total", process='a"b\\c\nd')
    assert samples_by_key(render(metrics.snapshot())) == {
        "tessella_restarts_total" + str([("process", 'a"b\\c\nd')]): 1
    }


def test_every_metric_has_a_type_and_help() -> None:
    types = {family.name: family.type for family in text_string_to_metric_families(render(Metrics().snapshot()))}
    assert set(types) == {name.removesuffix("_total") for name in (*COUNTERS, *GAUGES, *HISTOGRAMS)}
    assert types["nv_inference_request_success"] == "counter"


def test_names_of_our_own_follow_the_conventions_of_prometheus() -> None:
    ours = [name for name in (*COUNTERS, *GAUGES, *HISTOGRAMS) if name.startswith("tessella_")]
    assert all(name.endswith("_total") == (name in COUNTERS) for name in ours)
    assert not [name for name in ours if re.search(r"_(us|ms|seconds_sum|percent|mb)(_|$)", name)]


def test_requests_and_batches_are_counted() -> None:
    runner = GatedRunner()
    with (
        gated(runner, Settings(model=("gated",), max_batch_size=4, max_queue=6)) as live,
        ThreadPoolExecutor(16) as pool,
    ):
        runner.gate.clear()
        first = pool.submit(httpx.post, f"{live.url}/classify", content=PNG)
        assert runner.begun.acquire(timeout=30)
        others = [pool.submit(httpx.post, f"{live.url}/classify", content=PNG, timeout=60) for _ in range(5)]
        while live.waiting < 5:
            time.sleep(0.01)
        assert httpx.post(f"{live.url}/classify", content=PNG).status_code == 429
        assert value(live.url, "nv_inference_pending_request_count") == 6
        runner.gate.set()
        assert [task.result().status_code for task in [first, *others]] == [200] * 6
        assert httpx.post(f"{live.url}/classify", content=b"text").status_code == 422
        assert httpx.get(f"{live.url}/nowhere/at/all").status_code == 404
        expected = {
            "nv_inference_request_success": 6,
            "nv_inference_count": 6,
            "nv_inference_exec_count": 3,
            "nv_inference_pending_request_count": 0,
            "tessella_batch_size_count": 3,
            "tessella_queue_seconds_count": 6,
            **{f"tessella_{stage}_seconds_count": 6 for stage in ("decode", "input", "output")},
        }
        assert {name: value(live.url, name) for name in expected} == expected
        assert value(live.url, "nv_inference_request_failure", reason="REJECTED") == 1
        assert value(live.url, "nv_inference_request_failure", reason="OTHER") == 1
        assert value(live.url, "tessella_images_failed_total", error_type="invalid_image") == 1
        assert value(live.url, "tessella_batches_total", reason="full") == 1
        assert value(live.url, "tessella_batches_total", reason="idle") == 2
        assert value(live.url, "tessella_responses_total", route="/classify", status="200") == 6
        assert value(live.url, "tessella_responses_total", route="none", status="404") == 1
        assert value(live.url, "nv_inference_queue_duration_us") > 0


def test_counters_survive_the_death_of_an_engine() -> None:
    process = Process("--model", "digits-vit", "--frontends", "2").ready()
    try:
        for _ in range(20):
            assert httpx.post(f"{process.url}/classify", content=PNG).status_code == 200
        wait_for(process.url, "nv_inference_request_success", 20)
        wait_for(process.url, "nv_inference_count", 20)
        os.kill(process.children("engine")[-1], signal.SIGKILL)
        while httpx.post(f"{process.url}/classify", content=PNG).status_code != 200:
            time.sleep(0.1)
        wait_for(process.url, "nv_inference_count", 21)
        assert value(process.url, "tessella_restarts_total", process="engine") == 1
        samples = samples_of(httpx.get(f"{process.url}/metrics").text)
        assert [count for name, _, count in samples if name == "tessella_jit_compiles_total"] == [0]
    finally:
        process.stop()


def wait_for(url: str, name: str, expected: float) -> None:
    """Wait for a value: metrics of other processes are at most half a second old."""
    for _ in range(200):
        if value(url, name) == expected:
            return
        time.sleep(0.05)
    pytest.fail(f"{name} is {value(url, name)} and not {expected}")
