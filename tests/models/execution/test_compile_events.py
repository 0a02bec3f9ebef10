"""Compile events: delivered to the listener of the same thread only."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from tessella.models.execution.compile_events import notify_compiled, on_compile, watch_triton


def test_only_the_listening_thread_is_notified() -> None:
    events: list[str] = []
    notify_compiled("before")
    with on_compile(events.append):
        notify_compiled("inside")
        thread = threading.Thread(target=notify_compiled, args=("elsewhere",))
        thread.start()
        thread.join()
    notify_compiled("after")
    assert events == ["inside"]


def test_tritons_kernels_are_reported_and_earlier_hooks_still_run(monkeypatch: pytest.MonkeyPatch) -> None:
    knobs = pytest.importorskip("triton.knobs")
    before: list[dict[str, Any]] = []
    monkeypatch.setattr(knobs.runtime, "jit_post_compile_hook", lambda **compilation: before.append(compilation))
    watch_triton()
    watch_triton()
    events: list[str] = []
    with on_compile(events.append):  # as triton's JITFunction calls it
        kernel = SimpleNamespace(module="tessella.kernels.triton.linear", name="linear_kernel")
        knobs.runtime.jit_post_compile_hook(
            key="k", repr="r", fn=kernel, compile={"key": "k"}, is_manual_warmup=False, already_compiled=False
        )
    assert events == ["kernel linear_kernel"]
    assert [compilation["key"] for compilation in before] == ["k"]
