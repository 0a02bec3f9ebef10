"""What the supervisor does where the machine, its operator or the files around it do something odd."""

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


def everyone(process: Process) -> list[int]:
    return [process.process.pid, *process.children("engine"), *process.children("frontend")]


def test_a_front_end_that_starts_again_has_the_settings_of_the_others(tmp_path: Path) -> None:
    """Its file is being edited, and the one with the keys is gone."""
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


def test_sigterm_to_every_process_loses_nothing_that_was_accepted() -> None:
    """As systemd sends it."""
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
    for number in everyone(process):
        os.kill(number, signal.SIGTERM)
    request.join()
    assert process.stop() == 0
    assert answers[0].status_code == 200
    assert all("predictions" in result for result in answers[0].json()["results"])


def test_a_service_that_was_paused_goes_on_with_the_processes_that_it_has() -> None:
    """As `docker pause` does it, or a machine that sleeps."""
    process = Process("--model", "digits-vit", "--frontends", "1", "--hang-timeout", "2").ready()
    try:
        process.until(lambda: process.startup_complete)
        for number in everyone(process):
            os.kill(number, signal.SIGSTOP)
        time.sleep(3)
        for number in everyone(process):  # the supervisor first: it looks before the others have spoken
            os.kill(number, signal.SIGCONT)
        time.sleep(1)
        assert httpx.post(f"{process.url}/classify", content=PNG).status_code == 200
        assert len(everyone(process)) == 3
        assert "hangs" not in "".join(process.log)
        os.kill(process.children("engine")[0], signal.SIGSTOP)  # it still notices
        process.until(lambda: len(process.children("engine")) == 2)
    finally:
        process.stop()


HANGS = """
import threading
import tessella.server.lifecycle, tessella.server.engine.worker
tessella.server.lifecycle._AT_EXIT_SECONDS = 0.2
tessella.server.engine.worker.Worker._begin = lambda self, batch: threading.Event().wait()
"""


@pytest.mark.parametrize("front_ends", [0, 1])
def test_a_model_call_that_hangs_keeps_no_process_that_is_to_end(front_ends: int, tmp_path: Path) -> None:
    """Where nobody would kill it: alone, and where the supervisor has been killed."""
    (tmp_path / "sitecustomize.py").write_text(HANGS)
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    options = ("--model", "digits-vit", "--drain-timeout", "0.2", "--frontends", str(front_ends))
    process = Process(*options, PYTHONPATH=path).ready()
    assert httpx.post(f"{process.url}/classify", content=PNG, params={"timeout_ms": 200}).status_code == 504
    if front_ends == 0:
        assert process.stop() == 1
    else:
        process.stop(signal.SIGKILL)
        process.until(lambda: not any(map(alive, everyone(process))))
    assert "a model call that hangs" in "".join(process.log)


def test_a_process_that_cannot_be_started_is_tried_again() -> None:
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


def test_counters_never_go_back_whichever_front_end_tells_them() -> None:
    process = Process("--model", "digits-vit", "--frontends", "2").ready()
    try:
        told = []
        for _ in range(40):  # each over a connection of its own: the kernel deals them out
            assert httpx.post(f"{process.url}/classify", content=PNG).status_code == 200
            told.append(counted(process, "nv_inference_request_success"))
        assert told == sorted(told)
        assert told[-1] > 0
    finally:
        process.stop()


def pending(process: Process) -> float:
    return counted(process, "nv_inference_pending_request_count")


def counted(process: Process, name: str) -> float:
    lines = httpx.get(f"{process.url}/metrics").text
    return sum(float(found[1]) for found in re.finditer(rf"^{name}{{.*}} (\S+)$", lines, re.MULTILINE))
