"""Faults around the supervisor: changed files, signals to all processes, pauses, hanging models, no descriptors."""

import os
import re
import resource
import signal
import threading
import time
from pathlib import Path

import httpx
import pytest

from ...support import pictures
from ...support.live import Process, alive

PNG = pictures.encode(pictures.gradient())


def all_pids(process: Process) -> list[int]:
    return [process.process.pid, *process.children("engine"), *process.children("frontend")]


def test_a_restarted_front_end_has_the_settings_of_the_others(tmp_path: Path) -> None:
    """The configuration file is invalid by now, and the file with the keys is deleted."""
    (tmp_path / "tessella.toml").write_text(
        'api_key_file = "keys"\nrate_limit = 100\n[models]\ndigits = "digits-vit"\n'
    )
    (tmp_path / "keys").write_text("blue\n")
    process = Process("--frontends", "1", folder=tmp_path).ready()
    try:
        (tmp_path / "tessella.toml").write_text("port = \n")
        (tmp_path / "keys").unlink()
        os.kill(process.children("frontend")[0], signal.SIGKILL)
        process.until(lambda: len(process.children("frontend")) == 2)
        process.ready()
        answers = [
            httpx.post(f"{process.url}/classify", content=PNG, headers={"x-api-key": key}) for key in ("blue", "")
        ]
        assert [answer.status_code for answer in answers] == [200, 401]
        assert "Traceback" not in "".join(process.log)
    finally:
        process.stop()


def test_sigterm_to_every_process_loses_no_accepted_request() -> None:
    """As systemd sends it by default (KillMode=control-group)."""
    process = Process("--model", "digits-vit", "--frontends", "1", "--max-batch-size", "1").ready()
    answers: list[httpx.Response] = []
    request = threading.Thread(
        target=lambda: answers.append(
            httpx.post(
                f"{process.url}/classify", files=[("image", PNG)] * 64, params={"explain": "rollout"}, timeout=60
            )
        )
    )
    request.start()
    process.until(lambda: pending(process) == 64)
    for number in all_pids(process):
        os.kill(number, signal.SIGTERM)
    request.join()
    assert process.wait() == 0
    assert answers[0].status_code == 200
    assert all("predictions" in result for result in answers[0].json()["results"])


def test_a_paused_service_continues_with_the_same_processes() -> None:
    """As with `docker pause`, or on a machine that was suspended."""
    process = Process("--model", "digits-vit", "--frontends", "1", "--hang-timeout", "2").ready()
    try:
        process.until(lambda: process.startup_complete)
        for number in all_pids(process):
            os.kill(number, signal.SIGSTOP)
        time.sleep(3)
        for number in all_pids(process):  # the supervisor first: it checks before the others have sent a heartbeat
            os.kill(number, signal.SIGCONT)
        time.sleep(1)
        assert httpx.post(f"{process.url}/classify", content=PNG).status_code == 200
        assert len(all_pids(process)) == 3
        assert "hangs" not in "".join(process.log)
        os.kill(process.children("engine")[0], signal.SIGSTOP)  # hangs are still detected
        process.until(lambda: len(process.children("engine")) == 2)
    finally:
        process.stop()


HANGS = """
import threading
from tessella.server import lifecycle
from tessella.server.engine.worker import Worker
for owner, name, value in (
    (lifecycle, "_THREAD_EXIT_SECONDS", 0.2),
    (Worker, "_start_batch", lambda self, batch: threading.Event().wait()),
):
    getattr(owner, name)  # raises if it has been renamed
    setattr(owner, name, value)
"""


@pytest.mark.parametrize("front_ends", [0, 1])
def test_a_hanging_model_call_does_not_prevent_exit(front_ends: int, tmp_path: Path) -> None:
    """Without a supervisor that kills the process: in a single process, and after the supervisor was killed."""
    (tmp_path / "sitecustomize.py").write_text(HANGS)
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    options = ("--model", "digits-vit", "--drain-timeout", "0.2", "--frontends", str(front_ends))
    process = Process(*options, PYTHONPATH=path).ready()
    assert httpx.post(f"{process.url}/classify", content=PNG, params={"timeout_ms": 200}).status_code == 504
    if front_ends == 0:
        assert process.stop() == 1
    else:
        process.stop(signal.SIGKILL)
        process.until(lambda: not any(map(alive, all_pids(process))))
    assert "a model call that hangs" in "".join(process.log)


def test_starting_a_process_is_retried() -> None:
    process = Process("--model", "digits-vit", "--frontends", "1").ready()
    supervisor = process.process.pid
    before = resource.prlimit(supervisor, resource.RLIMIT_NOFILE)
    try:
        resource.prlimit(supervisor, resource.RLIMIT_NOFILE, (1, before[1]))
        os.kill(process.children("frontend")[0], signal.SIGKILL)
        process.until(lambda: any("could not be started" in line for line in list(process.log)))
        resource.prlimit(supervisor, resource.RLIMIT_NOFILE, before)
        process.until(lambda: len(process.children("frontend")) == 2)
        process.ready()
    finally:
        process.stop()


def test_counters_never_decrease_whichever_front_end_reports_them() -> None:
    process = Process("--model", "digits-vit", "--frontends", "2").ready()
    try:
        counts = []
        for _ in range(40):  # new connections, which the kernel distributes over the front ends
            assert httpx.post(f"{process.url}/classify", content=PNG).status_code == 200
            counts.append(counter_sum(process, "nv_inference_request_success"))
        assert counts == sorted(counts)
        assert counts[-1] > 0
    finally:
        process.stop()


def pending(process: Process) -> float:
    return counter_sum(process, "nv_inference_pending_request_count")


def counter_sum(process: Process, name: str) -> float:
    lines = httpx.get(f"{process.url}/metrics").text
    return sum(float(match[1]) for match in re.finditer(rf"^{name}{{.*}} (\S+)$", lines, re.MULTILINE))
