"""The gRPC server beside the HTTP one: the port, keys, errors as status codes. Knows no tensor."""

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import unquote

import grpc
from google.protobuf.json_format import ParseDict

from ... import errors
from ...http.auth import ApiKeys, is_loopback
from ...http.error_responses import STATUS_CODES, retry_after_seconds
from ...http.service import Service
from ...observability.logs import log_access
from ...settings import Settings
from . import operations as shared
from . import tessella_open_inference_pb2 as pb
from .grpc_codec import is_typed, parameters_of, read_message, write_message
from .infer import INLINE_ELEMENTS, infer, offload
from .metadata import configuration
from .operations import EXTENSIONS

SERVICE = "inference.GRPCInferenceService"
Method = Callable[[Any], Awaitable[Any]]


class InferenceService:
    """What the protocol asks of one service, over gRPC. `methods`: by name, those that are there."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.methods: dict[str, Method] = {
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._model_metadata,
            "ModelInfer": self._model_infer,
            "ModelConfig": self._model_config,
            "ModelStatistics": self._model_statistics,
            "RepositoryIndex": self._repository_index,
            "RepositoryModelLoad": self._repository_model_load,
            "RepositoryModelUnload": self._repository_model_unload,
        }

    async def _server_live(self, request: pb.ServerLiveRequest) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=True)

    async def _server_ready(self, request: pb.ServerReadyRequest) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=shared.is_ready(self._service))

    async def _model_ready(self, request: pb.ModelReadyRequest) -> pb.ModelReadyResponse:
        model = shared.model_of(self._service, request.name, request.version)
        return pb.ModelReadyResponse(ready=model.state == "ready")

    async def _server_metadata(self, request: pb.ServerMetadataRequest) -> pb.ServerMetadataResponse:
        return ParseDict(shared.server_metadata().model_dump(), pb.ServerMetadataResponse())

    async def _model_metadata(self, request: pb.ModelMetadataRequest) -> pb.ModelMetadataResponse:
        metadata = shared.metadata(self._service, request.name, request.version)
        return ParseDict(metadata.model_dump(), pb.ModelMetadataResponse())

    async def _model_config(self, request: pb.ModelConfigRequest) -> pb.ModelConfigResponse:
        engine = shared.engine_of(self._service, request.name, request.version)
        config = ParseDict(configuration(engine, self._service.settings).model_dump(), pb.ModelConfig())
        return pb.ModelConfigResponse(config=config)

    async def _model_statistics(self, request: pb.ModelStatisticsRequest) -> pb.ModelStatisticsResponse:
        statistics = await shared.count(self._service, request.name, request.version)
        return ParseDict(statistics.model_dump(), pb.ModelStatisticsResponse())

    async def _model_infer(self, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
        find = partial(shared.engine_of, self._service, request.model_name, request.model_version)
        find()
        size = request.ByteSize()
        self._service.body_budget.reserve(size)
        try:
            asked = read_message(request)
            answer = await infer(asked, find, self._service.settings)
        finally:
            self._service.body_budget.release(size)
        write = partial(write_message, answer, asked.id, typed=is_typed(request))
        return await offload(write, when=answer.elements > INLINE_ELEMENTS)

    async def _repository_index(self, request: pb.RepositoryIndexRequest) -> pb.RepositoryIndexResponse:
        models = shared.index(self._service, only_ready=request.ready)
        return pb.RepositoryIndexResponse(models=[model.model_dump() for model in models])

    async def _repository_model_load(self, request: pb.RepositoryModelLoadRequest) -> pb.RepositoryModelLoadResponse:
        await shared.load(self._service, request.model_name, parameters_of(request))
        return pb.RepositoryModelLoadResponse()

    async def _repository_model_unload(
        self, request: pb.RepositoryModelUnloadRequest
    ) -> pb.RepositoryModelUnloadResponse:
        await shared.unload(self._service, request.model_name)
        return pb.RepositoryModelUnloadResponse()


CODES: dict[type[errors.ServiceError], grpc.StatusCode] = {
    errors.BadRequest: grpc.StatusCode.INVALID_ARGUMENT,
    errors.Forbidden: grpc.StatusCode.PERMISSION_DENIED,
    errors.ModelNotFound: grpc.StatusCode.NOT_FOUND,
    errors.RequestTooLarge: grpc.StatusCode.INVALID_ARGUMENT,
    errors.TaskNotSupported: grpc.StatusCode.UNIMPLEMENTED,
    errors.Unsupported: grpc.StatusCode.UNIMPLEMENTED,
    errors.Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.NotReady: grpc.StatusCode.UNAVAILABLE,
    errors.InferenceFailed: grpc.StatusCode.UNAVAILABLE,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""The other kinds belong to routes that gRPC does not have."""
PUSHBACK = "grpc-retry-pushback-ms"
"""The metadata that gRPC's own clients wait for before they retry (github.com/grpc/proposal, A6)."""
_OPEN = ("ServerLive", "ServerReady")
_ADMIN = ("RepositoryModelLoad", "RepositoryModelUnload")
_HEADROOM_BYTES = 1 << 16
_log = logging.getLogger(__name__)


@asynccontextmanager
async def grpc_server(service: Service, keys: ApiKeys) -> AsyncIterator[None]:
    """Serves on `grpc_port` until the block ends; then answers what was accepted, within `drain_timeout`.

    Several front ends listen on the one port; the kernel deals its connections out to them.

    Raises:
        RuntimeError: the port cannot be listened on.
    """
    settings = service.settings
    server = grpc.aio.server(
        options=[
            ("grpc.so_reuseport", 1),
            ("grpc.max_receive_message_length", settings.max_body_bytes + _HEADROOM_BYTES),
            ("grpc.max_send_message_length", -1),
        ]
    )
    server.add_generic_rpc_handlers((_Handlers(service, keys),))
    address = f"[{settings.host}]" if ":" in settings.host else settings.host
    _listen(server, f"{address}:{settings.grpc_port}", settings)
    await server.start()
    try:
        yield
    finally:
        await server.stop(settings.drain_timeout)


def _listen(server: Any, address: str, settings: Settings) -> None:
    if settings.tls_certificate and settings.tls_key:
        pair = settings.tls_key.read_bytes(), settings.tls_certificate.read_bytes()
        server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
    else:
        server.add_insecure_port(address)


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Finds the handler of a call. A method of the protocol that is not served says so, instead of `not found`."""

    def __init__(self, service: Service, keys: ApiKeys) -> None:
        self._service = service
        self._keys = keys
        self._handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                self._answer(name, method),
                request_deserializer=getattr(pb, f"{name}Request").FromString,
                response_serializer=getattr(pb, f"{name}Response").SerializeToString,
            )
            for name, method in InferenceService(service).methods.items()
        }

    def service(self, details: Any) -> Any:
        service, _, method = details.method.strip("/").rpartition("/")
        if service != SERVICE:
            return None
        unserved = self._answer(method, _unserved(method))
        return self._handlers.get(method) or grpc.unary_unary_rpc_method_handler(unserved)

    def _answer(self, name: str, method: Method) -> Callable[[Any, Any], Awaitable[Any]]:
        async def answer(request: Any, context: Any) -> Any:
            started = time.perf_counter()
            code, reason, wait, response = grpc.StatusCode.OK, "", None, None
            try:
                self._check(name, context)
                response = await method(request)
            except errors.ServiceError as error:
                code, reason = CODES[type(error)], str(error)
                wait = retry_after_seconds(STATUS_CODES[type(error)], error.retry_after)
            except _NoKey as error:
                code, reason = grpc.StatusCode.UNAUTHENTICATED, str(error)
            except Exception:
                _log.exception("gRPC %s failed", name)
                code, reason = grpc.StatusCode.INTERNAL, "internal error; the log has it"
            self._note(name, code, time.perf_counter() - started)
            if code is not grpc.StatusCode.OK:
                await context.abort(code, reason, () if wait is None else ((PUSHBACK, str(1000 * wait)),))
            return response

        return answer

    def _check(self, name: str, context: Any) -> None:
        if self._keys and name not in _OPEN:
            wait = self._keys.admit(dict(context.invocation_metadata() or ()))
            if wait is None:
                raise _NoKey("no valid API key; send it as metadata 'authorization: Bearer …' or 'x-api-key'")
            if wait:
                raise errors.Overloaded(f"this key's requests come too fast; the next may come in {wait:.3f} s", wait)
        elif not self._keys and name in _ADMIN and not is_loopback(_host(context.peer())):
            raise errors.Forbidden("without an API key this is only for requests from this machine")

    def _note(self, name: str, code: grpc.StatusCode, seconds: float) -> None:
        """Counts the response and logs it, by methods that are there: what a client can type grows no metric."""
        route = f"{SERVICE}/{name}" if name in self._handlers else SERVICE
        self._service.metrics.count("tessella_responses_total", route=route, status=code.name)
        if self._service.settings.access_log:
            log_access(method="gRPC", path=route, status=code.name, total_ms=round(seconds * 1e3, 3))


class _NoKey(Exception):
    """The call carries none of the keys."""


def _unserved(method: str) -> Method:
    async def unserved(request: Any) -> Any:
        raise errors.Unsupported(f"{method} is not served; the extensions that are: {', '.join(EXTENSIONS)}")

    return unserved


def _host(peer: str) -> str:
    """`ipv4:127.0.0.1:50000` -> 127.0.0.1; `ipv6:%5B::1%5D:50000` -> [::1]."""
    return unquote(peer).partition(":")[2].rpartition(":")[0]
