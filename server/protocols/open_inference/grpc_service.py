"""The methods of `inference.GRPCInferenceService`: each takes its request message and returns its response message."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from google.protobuf.json_format import ParseDict
from pydantic import BaseModel

from ...state import Service
from . import service as shared
from .grpc_messages import MESSAGES
from .grpc_request import is_typed, parameters_of, read_message, write_message
from .infer import INLINE_ELEMENTS, infer, offload
from .model import configuration

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

    async def _server_live(self, request: Any) -> Any:
        return MESSAGES["ServerLiveResponse"](live=True)

    async def _server_ready(self, request: Any) -> Any:
        return MESSAGES["ServerReadyResponse"](ready=shared.is_ready(self._service))

    async def _model_ready(self, request: Any) -> Any:
        model = shared.model_of(self._service, request.name, request.version)
        return MESSAGES["ModelReadyResponse"](ready=model.state == "ready")

    async def _server_metadata(self, request: Any) -> Any:
        return _message("ServerMetadataResponse", shared.server_metadata())

    async def _model_metadata(self, request: Any) -> Any:
        metadata = shared.metadata(self._service, request.name, request.version)
        return _message("ModelMetadataResponse", metadata)

    async def _model_config(self, request: Any) -> Any:
        engine = shared.engine_of(self._service, request.name, request.version)
        config = _message("ModelConfig", configuration(engine, self._service.settings))
        return MESSAGES["ModelConfigResponse"](config=config)

    async def _model_statistics(self, request: Any) -> Any:
        return _message("ModelStatisticsResponse", await shared.count(self._service, request.name, request.version))

    async def _model_infer(self, request: Any) -> Any:
        find = partial(shared.engine_of, self._service, request.model_name, request.model_version)
        find()
        size = request.ByteSize()
        self._service.bodies.hold(size)
        try:
            asked = read_message(request)
            answer = await infer(asked, find, self._service.settings)
        finally:
            self._service.bodies.give_back(size)
        write = partial(write_message, answer, asked.id, typed=is_typed(request))
        return await offload(write, when=answer.elements > INLINE_ELEMENTS)

    async def _repository_index(self, request: Any) -> Any:
        models = shared.index(self._service, only_ready=request.ready)
        return MESSAGES["RepositoryIndexResponse"](models=[model.model_dump() for model in models])

    async def _repository_model_load(self, request: Any) -> Any:
        await shared.load(self._service, request.model_name, parameters_of(request))
        return MESSAGES["RepositoryModelLoadResponse"]()

    async def _repository_model_unload(self, request: Any) -> Any:
        await shared.unload(self._service, request.model_name)
        return MESSAGES["RepositoryModelUnloadResponse"]()


def _message(name: str, document: BaseModel) -> Any:
    return ParseDict(document.model_dump(), MESSAGES[name]())
