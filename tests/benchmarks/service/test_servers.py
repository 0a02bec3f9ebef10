"""Server processes: awaited, suspended, stopped with their children, and named when they do not start."""

import sys
import time
from pathlib import Path

import pytest

from tessella.benchmarks.service.servers import Server, ServerError, ServerSettings, all_ready, free_port, start_peer

SERVER = """
import http.server, subprocess, sys, os
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("child", child.pid, "threads", os.environ["OMP_NUM_THREADS"], "TESSELLA_PORT" in os.environ, flush=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/ready" else 404)
        self.end_headers()
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def server(tmp_path: Path, code: str = SERVER, ready: str = "/ready", *, suspendable: bool = True) -> Server:
    port = free_port()
    command = [sys.executable, "-c", code, str(port)]
    return Server("stub", command, ready, tmp_path / "stub.log", 3, port, suspendable=suspendable)


def state(process: int) -> str:
    """State in /proc, such as T for stopped; empty where there is no such process, or only a zombie."""
    try:
        status = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
    return "" if status == "Z" else status


def wait_for(condition: object, seconds: float = 30) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    assert condition()


def test_a_server_is_awaited_suspended_and_stopped_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESSELLA_PORT", "1")
    with all_ready([started := server(tmp_path)]):
        parts = started.log_text().split()
        child = int(parts[1])
        assert parts[2:5] == ["threads", "3", "False"], "threads are set, a user's TESSELLA_PORT is not passed on"
        assert started.engine_processes() == []
        started.suspend()
        wait_for(lambda: state(child) == "T")
        started.resume()
        wait_for(lambda: state(child) in ("S", "R"))
        assert started.is_ready()
        started.suspend()  # a suspended server is stopped all the same
    wait_for(lambda: not state(child))
    assert not started.is_ready()


def test_engine_processes_are_listed_and_their_supervisor_is_not_suspended(tmp_path: Path) -> None:
    output = 'print("engine 0 (pid 11) started\\nengine 0 (pid 12) started", flush=True)'
    with all_ready([started := server(tmp_path, SERVER.replace("class Handler", f"{output}\nclass Handler"))]):
        assert started.engine_processes() == [11, 12]
        child = int(started.log_text().split()[1])
        started.suspend()
        assert started.is_ready()
        assert state(child) in ("S", "R")


def test_a_server_that_exits_is_named_with_its_output(tmp_path: Path) -> None:
    with (
        pytest.raises(ServerError, match=r"stub exited with code 3: .*no such model"),
        all_ready([server(tmp_path, "import sys; print('no such model'); sys.exit(3)")]),
    ):
        pass


def test_a_server_that_is_never_ready_times_out(tmp_path: Path) -> None:
    with server(tmp_path, ready="/never") as started, pytest.raises(ServerError, match="stub was not ready after 0 s"):
        started.wait_ready(within=0.3)


def test_an_unknown_peer_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown peer 'triton'; known peers are fastapi, litserve, ray"):
        start_peer("triton", ServerSettings(model=tmp_path), tmp_path / "log")


def test_a_server_that_is_not_suspendable_is_not_stopped(tmp_path: Path) -> None:
    with all_ready([started := server(tmp_path, suspendable=False)]):
        started.suspend()
        assert started.is_ready()
