"""gRPC server of the Open Inference Protocol: port, API keys, and service errors as status codes. No tensors."""

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
from ...http.auth import ApiKeys, is_forwarded, is_loopback, rate_limit_message
from ...http.error_responses import STATUS_CODES, retry_after_seconds
from ...http.service import Service
from ...observability.logs import log_access
from ...settings import Settings
from . import operations
from . import tessella_open_inference_pb2 as pb
from .grpc_codec import has_typed_contents, parameters_of, read_message, write_message
from .infer import INLINE_ELEMENTS, infer, offload
from .metadata import describe_config

SERVICE = "inference.GRPCInferenceService"
GRPC_CODES: dict[type[errors.ServiceError], grpc.StatusCode] = {
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
"""Status code of each service error; those missing occur only on routes that gRPC does not have."""
PUSHBACK = "grpc-retry-pushback-ms"
"""Trailing metadata with the delay before a client retries (github.com/grpc/proposal, A6)."""

Method = Callable[[Any], Awaitable[Any]]

_PUBLIC_METHODS = ("ServerLive", "ServerReady")
_ADMIN_METHODS = ("RepositoryModelLoad", "RepositoryModelUnload")
_HEADROOM_BYTES = 1 << 16
_log = logging.getLogger(__name__)


@asynccontextmanager
async def grpc_server(service: Service, keys: ApiKeys) -> AsyncIterator[None]:
    """Context manager: serve on `grpc_port`, and on exit complete the accepted calls within `drain_timeout`.

    Several front ends listen on the same port; the kernel distributes connections among them (SO_REUSEPORT).

    Raises:
        RuntimeError: the server cannot listen on the port.
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


class InferenceService:
    """Methods of the protocol's gRPC service, by name in `methods`."""

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
        return pb.ServerReadyResponse(ready=operations.is_ready(self._service))

    async def _model_ready(self, request: pb.ModelReadyRequest) -> pb.ModelReadyResponse:
        model = operations.find_model(self._service, request.name, request.version)
        return pb.ModelReadyResponse(ready=model.state == "ready")

    async def _server_metadata(self, request: pb.ServerMetadataRequest) -> pb.ServerMetadataResponse:
        return ParseDict(operations.server_metadata().model_dump(), pb.ServerMetadataResponse())

    async def _model_metadata(self, request: pb.ModelMetadataRequest) -> pb.ModelMetadataResponse:
        metadata = operations.model_metadata(self._service, request.name, request.version)
        return ParseDict(metadata.model_dump(), pb.ModelMetadataResponse())

    async def _model_config(self, request: pb.ModelConfigRequest) -> pb.ModelConfigResponse:
        engine = operations.find_engine(self._service, request.name, request.version)
        config = ParseDict(describe_config(engine, self._service.settings).model_dump(), pb.ModelConfig())
        return pb.ModelConfigResponse(config=config)

    async def _model_statistics(self, request: pb.ModelStatisticsRequest) -> pb.ModelStatisticsResponse:
        statistics = await operations.model_statistics(self._service, request.name, request.version)
        return ParseDict(statistics.model_dump(), pb.ModelStatisticsResponse())

    async def _model_infer(self, message: pb.ModelInferRequest) -> pb.ModelInferResponse:
        get_engine = partial(operations.find_engine, self._service, message.model_name, message.model_version)
        get_engine()
        size = message.ByteSize()
        self._service.body_budget.reserve(size)
        try:
            request = read_message(message)
            result = await infer(request, get_engine, self._service.settings)
        finally:
            self._service.body_budget.release(size)
        write = partial(write_message, result, request.id, typed=has_typed_contents(message))
        return await offload(write, when=result.element_count > INLINE_ELEMENTS)

    async def _repository_index(self, request: pb.RepositoryIndexRequest) -> pb.RepositoryIndexResponse:
        models = operations.repository_index(self._service, only_ready=request.ready)
        return pb.RepositoryIndexResponse(models=[model.model_dump() for model in models])

    async def _repository_model_load(self, request: pb.RepositoryModelLoadRequest) -> pb.RepositoryModelLoadResponse:
        await operations.load_model(self._service, request.model_name, parameters_of(request))
        return pb.RepositoryModelLoadResponse()

    async def _repository_model_unload(
        self, request: pb.RepositoryModelUnloadRequest
    ) -> pb.RepositoryModelUnloadResponse:
        await operations.unload_model(self._service, request.model_name)
        return pb.RepositoryModelUnloadResponse()


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Handlers of calls by method. Unknown methods of the service are answered with the supported extensions."""

    def __init__(self, service: Service, keys: ApiKeys) -> None:
        self._service = service
        self._keys = keys
        self._handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                self._wrap(name, method),
                request_deserializer=getattr(pb, f"{name}Request").FromString,
                response_serializer=getattr(pb, f"{name}Response").SerializeToString,
            )
            for name, method in InferenceService(service).methods.items()
        }

    def service(self, details: Any) -> Any:
        service, _, method = details.method.strip("/").rpartition("/")
        if service != SERVICE:
            return None
        unsupported = self._wrap(method, _unsupported(method))
        return self._handlers.get(method) or grpc.unary_unary_rpc_method_handler(unsupported)

    def _wrap(self, name: str, method: Method) -> Callable[[Any, Any], Awaitable[Any]]:
        """Handler that checks access, calls `method`, and records and returns its status."""

        async def handler(request: Any, context: Any) -> Any:
            started = time.perf_counter()
            code, message, wait, response = grpc.StatusCode.OK, "", None, None
            try:
                self._check_access(name, context)
                response = await method(request)
            except errors.ServiceError as error:
                code, message = GRPC_CODES[type(error)], str(error)
                wait = retry_after_seconds(STATUS_CODES[type(error)], error.retry_after)
            except _Unauthenticated as error:
                code, message = grpc.StatusCode.UNAUTHENTICATED, str(error)
            except Exception:
                _log.exception("gRPC %s failed", name)
                code, message = grpc.StatusCode.INTERNAL, "internal error; see the server log"
            self._record(name, code, time.perf_counter() - started)
            if code is not grpc.StatusCode.OK:
                await context.abort(code, message, () if wait is None else ((PUSHBACK, str(1000 * wait)),))
            return response

        return handler

    def _check_access(self, name: str, context: Any) -> None:
        metadata = dict(context.invocation_metadata() or ())
        if self._keys and name not in _PUBLIC_METHODS:
            wait = self._keys.admit(metadata)
            if wait is None:
                raise _Unauthenticated(
                    "missing or invalid API key; send it as metadata 'authorization: Bearer …' or 'x-api-key'"
                )
            if wait:
                raise errors.Overloaded(rate_limit_message(wait), wait)
        local = is_loopback(_host(context.peer())) and not is_forwarded(metadata)
        if name in _ADMIN_METHODS and not (self._keys or local):
            raise errors.Forbidden(
                "this method accepts only local calls unless an API key is configured; set --api-key"
            )

    def _record(self, name: str, code: grpc.StatusCode, seconds: float) -> None:
        """Count and log a response. Unknown methods share one label: clients must not create time series."""
        route = f"{SERVICE}/{name}" if name in self._handlers else SERVICE
        self._service.metrics.count("tessella_responses_total", route=route, status=code.name)
        if self._service.settings.access_log:
            log_access(method="gRPC", path=route, status=code.name, total_ms=round(seconds * 1e3, 3))


class _Unauthenticated(Exception):
    """Missing or invalid API key."""


def _listen(server: Any, address: str, settings: Settings) -> None:
    if settings.tls_certificate and settings.tls_key:
        pair = settings.tls_key.read_bytes(), settings.tls_certificate.read_bytes()
        server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
    else:
        server.add_insecure_port(address)


def _unsupported(method: str) -> Method:
    async def unsupported(request: Any) -> Any:
        raise errors.Unsupported(f"{method} is not supported; supported extensions: {', '.join(operations.EXTENSIONS)}")

    return unsupported


def _host(peer: str) -> str:
    """`ipv4:127.0.0.1:50000` -> 127.0.0.1; `ipv6:%5B::1%5D:50000` -> [::1]."""
    return unquote(peer).partition(":")[2].rpartition(":")[0]
