"""Batcher: order, batch size, groups, delay, cancellation, deadlines, closing and thread safety."""

import threading
import time
from concurrent.futures import Future

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessella.server.engine.batcher import Batcher
from tessella.server.errors import DeadlineExceeded


def payloads(batcher: "Batcher[int, int]", max_batch_size: int = 8) -> list[int]:
    return [entry.payload for entry in batcher.take(max_batch_size).entries]


@pytest.fixture
def dropped() -> list[str]:
    return []


@pytest.fixture
def batcher(dropped: list[str]) -> "Batcher[int, int]":
    return Batcher(dropped.append)


def test_queued_payloads_are_taken_in_order(batcher: "Batcher[int, int]") -> None:
    for payload in range(10):
        batcher.submit(payload)
    assert payloads(batcher) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert payloads(batcher) == [8, 9]


def test_take_waits_for_the_first_payload(batcher: "Batcher[int, int]") -> None:
    taken: list[list[int]] = []
    thread = threading.Thread(target=lambda: taken.append(payloads(batcher)))
    thread.start()
    assert thread.is_alive()
    batcher.submit(7)
    thread.join(10)
    assert taken == [[7]]


def test_urgent_payloads_come_first_and_zero_is_the_default(batcher: "Batcher[int, int]") -> None:
    for payload, priority in [(1, 0), (2, 99), (3, 1), (4, 0), (5, 50)]:
        batcher.submit(payload, priority=priority)
    assert payloads(batcher) == [3, 1, 4, 5, 2]


def test_cancelled_payloads_are_dropped(batcher: "Batcher[int, int]", dropped: list[str]) -> None:
    futures = [batcher.submit(payload) for payload in range(4)]
    futures[0].cancel()
    futures[2].cancel()
    assert payloads(batcher) == [1, 3]
    assert dropped == ["cancelled"] * 2


def test_only_a_full_batch_is_taken_without_waiting(batcher: "Batcher[int, int]") -> None:
    assert batcher.take_if_full(2).entries == []
    first = batcher.submit(0)
    assert batcher.take_if_full(2).entries == []
    batcher.submit(1)
    batcher.submit(2)
    batch = batcher.take_if_full(2)
    assert ([entry.payload for entry in batch.entries], batch.reason) == ([0, 1], "full")
    assert not first.cancel()
    batcher.submit(3, exclusive=True, priority=1)
    batcher.submit(4)
    assert batcher.take_if_full(1).entries == []
    assert [payloads(batcher) for _ in range(2)] == [[3], [2, 4]]


def test_expired_payloads_are_dropped_with_an_error(batcher: "Batcher[int, int]", dropped: list[str]) -> None:
    past, future = time.monotonic() - 1, time.monotonic() + 3600
    futures = [batcher.submit(payload, deadline=deadline) for payload, deadline in enumerate((past, future, past))]
    batcher.submit(3, deadline=past, group=1)
    assert payloads(batcher) == [1]
    for late in (futures[0], futures[2]):
        with pytest.raises(DeadlineExceeded, match="the deadline passed in the queue"):
            late.result(0)
    batcher.submit(4)
    assert payloads(batcher) == [4]
    assert dropped == ["expired"] * 3


def test_batch_of_cancelled_payloads_only_is_skipped(batcher: "Batcher[int, int]") -> None:
    batcher.submit(1).cancel()
    batcher.submit(2)
    assert payloads(batcher, max_batch_size=1) == [2]


def test_taken_payloads_cannot_be_cancelled(batcher: "Batcher[int, int]") -> None:
    future = batcher.submit(1)
    batcher.take(1)
    assert not future.cancel()


def test_closed_batcher_is_drained(batcher: "Batcher[int, int]") -> None:
    batcher.submit(1)
    batcher.close()
    assert payloads(batcher) == [1]
    assert payloads(batcher) == []
    with pytest.raises(RuntimeError, match="closed"):
        batcher.submit(2)


def test_close_wakes_a_waiting_worker(batcher: "Batcher[int, int]") -> None:
    taken: list[list[int]] = []
    thread = threading.Thread(target=lambda: taken.append(payloads(batcher)))
    thread.start()
    batcher.close()
    thread.join(10)
    assert taken == [[]]


def test_delay_ends_when_the_batch_is_full(batcher: "Batcher[int, int]") -> None:
    batcher.submit(0)
    feeder = threading.Timer(0.05, lambda: [batcher.submit(payload) for payload in (1, 2, 3)])
    feeder.start()
    batch = batcher.take(4, max_delay=60)
    assert [entry.payload for entry in batch.entries] == [0, 1, 2, 3]
    assert batch.reason == "full"


def test_delay_is_an_upper_bound(batcher: "Batcher[int, int]") -> None:
    batcher.submit(0)
    batch = batcher.take(4, max_delay=0.01)
    assert ([entry.payload for entry in batch.entries], batch.reason) == ([0], "delay")


def test_batch_has_the_reason_of_its_dispatch(batcher: "Batcher[int, int]") -> None:
    for payload in range(3):
        batcher.submit(payload)
    assert batcher.take(2).reason == "full"
    assert batcher.take(2).reason == "idle"
    batcher.submit(3)
    batcher.close()
    assert batcher.take(2, max_delay=60).reason == "drain"


def test_concurrent_submits_are_each_dispatched_once(batcher: "Batcher[int, int]") -> None:
    def work() -> None:
        while batch := batcher.take(7).entries:
            assert len(batch) <= 7
            for entry in batch:
                entry.future.set_result(entry.payload * 2)

    futures: dict[int, Future[int]] = {}

    def submit(start: int) -> None:
        for payload in range(start, start + 500):
            futures[payload] = batcher.submit(payload)

    workers = [threading.Thread(target=work) for _ in range(2)]
    clients = [threading.Thread(target=submit, args=(start,)) for start in range(0, 2000, 500)]
    for thread in [*workers, *clients]:
        thread.start()
    for thread in clients:
        thread.join(30)
    batcher.close()
    for thread in workers:
        thread.join(30)
    assert {payload: future.result(0) for payload, future in futures.items()} == {n: 2 * n for n in range(2000)}


def test_batch_holds_a_single_group(batcher: "Batcher[int, int]") -> None:
    for payload, group in enumerate([1, 0, 1, 0, 1]):
        batcher.submit(payload, group=group)
    assert [payloads(batcher), payloads(batcher)] == [[0, 2, 4], [1, 3]]


def test_cancelled_payload_gives_its_group_no_precedence(batcher: "Batcher[int, int]") -> None:
    cancelled = batcher.submit(0, group=0, priority=1)
    batcher.submit(1, group=1)
    batcher.submit(2, group=0)
    cancelled.cancel()
    assert [payloads(batcher), payloads(batcher)] == [[1], [2]]


def test_delay_ends_when_any_group_fills_a_batch(batcher: "Batcher[int, int]") -> None:
    for payload, group in enumerate([0, 1, 1]):
        batcher.submit(payload, group=group)
    batches = [batcher.take(2, max_delay=60), batcher.take(2, max_delay=60)]
    assert [[entry.payload for entry in batch.entries] for batch in batches] == [[0], [1, 2]]


EXCLUSIVE = 2
Step = tuple[int, int] | None


@given(st.lists(st.none() | st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=60), st.integers(1, 5))
def test_next_batch_is_the_group_of_the_most_urgent_entry(steps: list[Step], size: int) -> None:
    batcher: Batcher[int, int] = Batcher()
    waiting: dict[int, tuple[int, int, int]] = {}

    def take() -> None:
        taken = payloads(batcher, size)
        rows = [waiting.pop(payload) for payload in taken]
        (group,) = {group for _, _, group in rows}
        assert min([*rows, *waiting.values()])[:2] == rows[0][:2]
        barrier = min([row for row in waiting.values() if row[2] == EXCLUSIVE], default=(101, 0, 0))
        same_group = sorted(rows + [row for row in waiting.values() if row[2] == group and row < barrier])
        assert rows == same_group[: 1 if group == EXCLUSIVE else size]

    for number, step in enumerate(steps):
        if step is None:
            if waiting:
                take()
            continue
        priority, group = step
        batcher.submit(number, priority=priority, group=group, exclusive=group == EXCLUSIVE)
        waiting[number] = (priority or 50, number, group)
    while waiting:
        take()
    assert len(batcher) == 0


def test_exclusive_payload_is_a_batch_of_its_own(batcher: "Batcher[int, int]") -> None:
    for payload, exclusive in [(1, False), (2, False), (3, True), (4, True), (5, False)]:
        batcher.submit(payload, exclusive=exclusive)
    assert [payloads(batcher) for _ in range(4)] == [[1, 2], [3], [4], [5]]
    batcher.submit(6, exclusive=True)
    assert batcher.take(8, max_delay=60).reason == "idle"
