"""Server start: sockets, number of front ends, and settings that are rejected before anything starts."""

import socket
from pathlib import Path
from typing import Any

import pytest

from tessella.server import serve as module
from tessella.server.serve import frontend_count, listen, reserve_grpc_port, serve
from tessella.server.settings import Settings


@pytest.mark.parametrize(
    ("options", "cores", "expected"),
    [
        ({"device": "cpu"}, 64, 0),
        ({"device": "cuda:0"}, 2, 1),
        ({"device": "cuda:0"}, 16, 4),
        ({"device": "cuda:0,cuda:1"}, 64, 8),
        ({"device": "cuda:0", "frontends": 0}, 16, 0),
        ({"device": "cpu", "frontends": 3}, 2, 3),
    ],
)
def test_number_of_front_ends(
    options: dict[str, Any], cores: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "usable_cores", lambda: cores)
    assert frontend_count(Settings(**options)) == expected


def test_several_devices_need_front_ends() -> None:
    with pytest.raises(ValueError, match="set --frontends to at least 1"):
        frontend_count(Settings(device="cuda:0,cuda:1", frontends=0))


def test_port_in_use_is_named_with_a_remedy() -> None:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}: .*; try another --port"):
            listen("127.0.0.1", port)


def test_grpc_port_is_reserved() -> None:
    pytest.importorskip("grpc")
    with reserve_grpc_port(Settings(grpc_port=None)) as settings:
        assert settings.grpc_port is None
    with reserve_grpc_port(Settings(grpc_port=0)) as settings:
        assert settings.grpc_port
        port = settings.grpc_port
        with pytest.raises(OSError, match=f"{port}: .*; try another --grpc-port"):
            reserve_again(port)
    with reserve_grpc_port(Settings(grpc_port=port)) as settings:
        assert settings.grpc_port == port


def reserve_again(port: int) -> None:
    with reserve_grpc_port(Settings(grpc_port=port)):
        pytest.fail("the port is reserved twice")


def test_missing_grpc_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "installed", lambda name: name != "grpc")
    with (
        pytest.raises(ValueError, match=r"gRPC needs the package grpc, .*pip install 'tessella\[grpc\]'"),
        reserve_grpc_port(Settings(grpc_port=0)),
    ):
        pytest.fail("the extra is missing")


def test_invalid_certificate_is_rejected_before_the_start(tmp_path: Path) -> None:
    file = tmp_path / "a.pem"
    file.write_text("no certificate")
    with pytest.raises(ValueError, match="tls_key is set without tls_certificate"):
        serve(Settings(tls_key=file))
    with pytest.raises(FileNotFoundError, match=r"b\.pem"):
        serve(Settings(tls_certificate=tmp_path / "b.pem"))
    with pytest.raises(ValueError, match=r"a\.pem does not contain a PEM certificate with its unencrypted key"):
        serve(Settings(tls_certificate=file))
