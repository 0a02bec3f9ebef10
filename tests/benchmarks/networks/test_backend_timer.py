"""Backend timer with a simulated clock: the choice of backend, batch size and rounds."""

import pytest

from tessella.benchmarks.networks import backend_timer
from tessella.benchmarks.networks.backend_timer import RunBatch, choose_fastest
from tessella.models import cpu


class Clock:
    """Simulated clock that advances in calls only: by `seconds` for one image, by `batched` for eight."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[tuple[str, int]] = []

    def perf_counter(self) -> float:
        return self.now

    def run(self, name: str, seconds: float, batched: float) -> RunBatch:
        def one(count: int) -> None:
            self.calls.append((name, count))
            self.now += seconds if count == 1 else batched

        return one


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(backend_timer, "time", clock)
    monkeypatch.setattr(cpu, "usable_cores", lambda: 2)
    return clock


def test_single_images_and_batches_have_equal_weight(clock: Clock) -> None:
    choice = choose_fastest({"torch": clock.run("torch", 0.100, 0.8), "openvino": clock.run("openvino", 0.105, 0.5)})
    assert choice.backend == "openvino"
    assert choice.preferred_batch == 8
    assert choice.rates["openvino"] == pytest.approx((9.52, 16), rel=1e-3)
    assert choice.reason == (
        "measured fastest here: openvino 105.0 ms for one image (9.52 images/s, 16 in batches of 8); "
        "torch 100.0 ms for one image (10 images/s, 10 in batches of 8); batches of 8 gain 68%"
    )
    assert {count for _, count in clock.calls} == {1, 8}


def test_a_loss_in_batches_does_not_count_as_none_are_used(clock: Clock) -> None:
    choice = choose_fastest({"torch": clock.run("torch", 0.1, 1.6), "openvino": clock.run("openvino", 0.11, 0.85)})
    assert (choice.backend, choice.preferred_batch) == ("torch", 1)
    assert choice.reason.endswith("batches of 8 gain nothing (-50%)")


def test_a_much_slower_backend_is_not_measured_in_batches(clock: Clock) -> None:
    choice = choose_fastest({"torch": clock.run("torch", 0.1, 0.8), "onnxruntime": clock.run("onnxruntime", 0.2, 0.1)})
    assert choice.backend == "torch"
    assert ("onnxruntime", 8) not in clock.calls
    assert "onnxruntime 200.0 ms for one image (5 images/s);" in choice.reason


@pytest.mark.parametrize(("batched", "preferred"), [(0.77, 1), (0.75, 8)])
def test_batching_needs_a_minimum_gain(batched: float, preferred: int, clock: Clock) -> None:
    choice = choose_fastest({"torch": clock.run("torch", 0.1, batched)})
    assert choice.preferred_batch == preferred
    assert choice.reason.startswith("measured here: torch 100.0 ms")


def test_slow_networks_get_fewer_rounds(clock: Clock) -> None:
    choose_fastest({"torch": clock.run("torch", 10, 80)})
    assert clock.calls.count(("torch", 8)) == 2 + 5
    clock.calls.clear()
    choose_fastest({"torch": clock.run("torch", 0.01, 0.08)})
    assert clock.calls.count(("torch", 8)) == 2 + 15


def test_two_warmup_images_precede_each_timed_call(clock: Clock) -> None:
    choose_fastest({"torch": clock.run("torch", 0.1, 0.8), "openvino": clock.run("openvino", 0.1, 0.8)})
    for index, (name, count) in enumerate(clock.calls):
        if count > 1:
            assert clock.calls[index - 2 : index] == [(name, 1), (name, 1)]


def test_the_score_weighs_one_image_and_batches_equally(clock: Clock) -> None:
    assert choose_fastest({"torch": clock.run("torch", 0.1, 0.4)}).score == pytest.approx(10 * 20)
    assert choose_fastest({"torch": clock.run("torch", 0.1, 1.6)}).score == pytest.approx(10 * 10)
