"""Uvicorn contract: fails by name if a new version changes what we override, call or set."""

import asyncio
import inspect
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

import tessella
from tessella.server.http import uvicorn_config
from tessella.server.http.uvicorn_config import Server, server_config
from tessella.server.serve import listen
from tessella.server.settings import Settings

SETTINGS = Settings(model=("gated",))
OVERRIDDEN: dict[Callable[..., Any], tuple[str, ...]] = {
    uvicorn.Server.capture_signals: ("self",),
    uvicorn.Server.shutdown: ("self", "sockets"),
    HttpToolsProtocol.__init__: ("self", "config", "server_state", "app_state", "_loop"),
    HttpToolsProtocol.connection_made: ("self", "transport"),
    HttpToolsProtocol.connection_lost: ("self", "exc"),
    HttpToolsProtocol.data_received: ("self", "data"),
    HttpToolsProtocol.on_message_begin: ("self",),
    HttpToolsProtocol.on_headers_complete: ("self",),
    HttpToolsProtocol.on_message_complete: ("self",),
    HttpToolsProtocol.send_400_response: ("self", "msg"),
    HttpToolsProtocol.shutdown: ("self",),
}
CALLED: dict[Callable[..., Any], set[str]] = {
    uvicorn.Config.__init__: {
        "app",
        "http",
        "ws",
        "log_config",
        "access_log",
        "timeout_graceful_shutdown",
        "ssl_certfile",
        "ssl_keyfile",
    },
    uvicorn.Server.__init__: {"config"},
    uvicorn.Server.run: {"sockets"},
    uvicorn.Server.serve: {"sockets"},
}


def name_of(method: Callable[..., Any]) -> str:
    return f"{method.__qualname__} of uvicorn {uvicorn.__version__}"


@pytest.mark.parametrize("method", OVERRIDDEN, ids=lambda method: method.__qualname__)
def test_overridden_methods_have_the_expected_signatures(method: Callable[..., Any]) -> None:
    assert tuple(inspect.signature(method).parameters) == OVERRIDDEN[method], f"{name_of(method)} has other parameters"
    asynchronous = inspect.iscoroutinefunction(method)
    assert asynchronous == (method is uvicorn.Server.shutdown), f"{name_of(method)} is (not) asynchronous now"


@pytest.mark.parametrize("method", CALLED, ids=lambda method: method.__qualname__)
def test_called_methods_accept_our_arguments(method: Callable[..., Any]) -> None:
    gone = CALLED[method] - set(inspect.signature(method).parameters)
    assert not gone, f"{name_of(method)} no longer takes {', '.join(gone)}"


def test_every_override_is_known() -> None:
    for ours, theirs in ((Server, uvicorn.Server), (uvicorn_config.Connection, HttpToolsProtocol)):
        for name, value in vars(ours).items():
            public = not name.startswith("_") or name == "__init__"
            if inspect.isfunction(value) and public and hasattr(theirs, name):
                assert getattr(theirs, name) in OVERRIDDEN, f"{ours.__name__}.{name} overrides what no test knows"
        shared = {name for name in vars(ours) if name.startswith("_") and not name.startswith("__")} & set(dir(theirs))
        assert not shared, f"uvicorn {uvicorn.__version__} has private names of its own: {', '.join(shared)}"


def test_attributes_that_stop_the_server_exist() -> None:
    server = uvicorn.Server(uvicorn.Config("nowhere:app"))
    assert getattr(server, "should_exit", None) is False, f"Server.should_exit of uvicorn {uvicorn.__version__}"


def test_names_used_by_the_shutdown_exist() -> None:
    async def app(scope: object, receive: object, send: object) -> None: ...

    async def serve() -> None:
        server = Server(server_config(app, SETTINGS))
        with listen("127.0.0.1", 0) as listener:
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            while not server.started and not serving.done():
                await asyncio.sleep(0.01)
            assert len(server.servers) == 1, "one server per listening socket"
            assert server.server_state.connections == set()
            assert isinstance(server.lifespan.state, dict)
            assert server.config.ssl is None
            assert server.config.timeout_graceful_shutdown == SETTINGS.drain_timeout
            server.should_exit = True
            await asyncio.wait_for(serving, 30)
            assert listener.fileno() == -1
            assert 0 < server.config.timeout_graceful_shutdown < SETTINGS.drain_timeout
        source = inspect.getsource(uvicorn.Server.shutdown)
        for use in ("self.config.timeout_graceful_shutdown", "connection.shutdown()", "t.cancel("):
            assert use in source, f"shutdown of uvicorn {uvicorn.__version__} has no {use}"

    asyncio.run(serve())


class Transport(asyncio.Transport):
    def write(self, data: object) -> None: ...

    def close(self) -> None: ...

    def pause_reading(self) -> None: ...

    def is_closing(self) -> bool:
        return False


def test_the_parser_calls_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def recorded(name: str) -> Callable[[uvicorn_config.Connection], None]:
        method = getattr(uvicorn_config.Connection, name)

        def call(self: uvicorn_config.Connection) -> None:
            calls.append(name)
            method(self)

        return call

    for name in ("on_message_begin", "on_headers_complete", "on_message_complete"):
        monkeypatch.setattr(uvicorn_config.Connection, name, recorded(name))

    async def app(scope: object, receive: object, send: object) -> None:
        calls.append("app")

    async def feed() -> None:
        config = server_config(app, SETTINGS)
        config.load()
        protocol: Any = config.http_protocol_class(config=config, server_state=ServerState(), app_state={})  # type: ignore[call-arg]
        assert isinstance(protocol, uvicorn_config.Connection), "Config.http is not what is called for each connection"
        protocol.connection_made(Transport())
        protocol.data_received(b"GET /healthz HTTP/1.1\r\nhost: x\r\n")
        assert calls == ["on_message_begin"]
        protocol.data_received(b"\r\n")
        await asyncio.sleep(0)
        protocol.connection_lost(None)

    asyncio.run(feed())
    assert calls == ["on_message_begin", "on_headers_complete", "on_message_complete", "app"]


def test_names_of_the_connection_exist() -> None:
    async def app(scope: object, receive: object, send: object) -> None: ...

    async def feed() -> None:
        config = server_config(app, SETTINGS)
        config.load()
        protocol: Any = config.http_protocol_class(config=config, server_state=ServerState(), app_state={})  # type: ignore[call-arg]
        assert config.ws_protocol_class is None, f"ws='none' of uvicorn {uvicorn.__version__} has another meaning"
        assert not protocol.pipeline
        assert not protocol.cycle
        protocol.connection_made(Transport())
        protocol.data_received(b"POST /classify HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n")
        assert protocol.url == b"/classify"
        assert protocol.headers == [(b"host", b"x"), (b"content-length", b"1")]
        cycle: Any = protocol.cycle
        assert isinstance(cycle.message_event, asyncio.Event)
        states = (
            cycle.more_body,
            cycle.keep_alive,
            cycle.disconnected,
            cycle.response_started,
            cycle.response_complete,
        )
        assert states == (True, True, False, False, False)
        protocol.data_received(b"aGET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert protocol.pipeline[0][0] is protocol.cycle is not cycle, "the newest request is not the leftmost"

    asyncio.run(feed())


def test_the_parser_is_the_one_that_uvicorn_uses() -> None:
    source = inspect.getsource(HttpToolsProtocol)
    used = set(re.findall(r"self\.parser\.(\w+)", source))
    assert used == {
        *("feed_data", "get_http_version", "get_method", "set_dangerous_leniencies", "should_keep_alive"),
        "should_upgrade",
    }
    assert "set_dangerous_leniencies(lenient_data_after_close=True)" in source, "RequestParser sets the same leniencies"


def test_the_server_installs_no_signal_handlers() -> None:
    async def app(scope: object, receive: object, send: object) -> None: ...

    async def serve() -> None:
        before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
        server = Server(server_config(app, SETTINGS))
        with listen("127.0.0.1", 0) as listener:
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            while not server.started and not serving.done():
                await asyncio.sleep(0.01)
            taken = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] != before
            server.should_exit = True
            await asyncio.wait_for(serving, 30)
        assert not taken, f"uvicorn {uvicorn.__version__} takes signals elsewhere than in Server.capture_signals"

    asyncio.run(serve())


def test_one_file_imports_uvicorn() -> None:
    server = Path(tessella.__file__).parent / "server"
    files = [
        file
        for file in server.rglob("*.py")
        if re.search(r"^\s*(import|from) uvicorn", file.read_text("utf-8"), re.MULTILINE)
    ]
    assert files == [Path(uvicorn_config.__file__)]
