"""The methods of `inference.GRPCInferenceService`: each takes its request message and returns its response message."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from google.protobuf.json_format import ParseDict

from ...state import Service
from . import service as shared
from . import tessella_open_inference_pb2 as pb
from .grpc_request import is_typed, parameters_of, read_message, write_message
from .infer import INLINE_ELEMENTS, infer, offload
from .model import configuration

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
        self._service.bodies.hold(size)
        try:
            asked = read_message(request)
            answer = await infer(asked, find, self._service.settings)
        finally:
            self._service.bodies.give_back(size)
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
