"""What is notify_compiled is on_compile in the thread that serves, and nowhere else."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from tessella.models.execution.compile_events import notify_compiled, on_compile, watch_triton


def test_only_the_thread_that_listens_is_told_and_only_while_it_does() -> None:
    heard: list[str] = []
    notify_compiled("before")
    with on_compile(heard.append):
        notify_compiled("inside")
        thread = threading.Thread(target=notify_compiled, args=("elsewhere",))
        thread.start()
        thread.join()
    notify_compiled("after")
    assert heard == ["inside"]


def test_triton_tells_of_its_kernels_and_whoever_listened_before_still_hears(monkeypatch: pytest.MonkeyPatch) -> None:
    knobs = pytest.importorskip("triton.knobs")
    before: list[dict[str, Any]] = []
    monkeypatch.setattr(knobs.runtime, "jit_post_compile_hook", lambda **compilation: before.append(compilation))
    watch_triton()
    watch_triton()
    heard: list[str] = []
    with on_compile(heard.append):  # as triton's JITFunction calls it
        kernel = SimpleNamespace(module="tessella.kernels.triton.linear", name="linear_kernel")
        knobs.runtime.jit_post_compile_hook(
            key="k", repr="r", fn=kernel, compile={"key": "k"}, is_manual_warmup=False, already_compiled=False
        )
    assert heard == ["kernel linear_kernel"]
    assert [compilation["key"] for compilation in before] == ["k"]
