"""Model and server metadata of the Open Inference Protocol: response models, and their values for an engine."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from ...engine.batcher import DEFAULT_PRIORITY
from ...engine.engine import AsyncEngine
from ...settings import Settings
from .requests import MAX_PRIORITY

OUTPUTS = ("logits", "probabilities")

RepositoryState = Literal["READY", "LOADING", "UNAVAILABLE"]


class Live(BaseModel):
    live: bool


class Ready(BaseModel):
    ready: bool


class ModelReady(BaseModel):
    name: str
    ready: bool


class ServerMetadata(BaseModel):
    name: str
    version: str
    extensions: list[str]


class TensorMetadata(BaseModel):
    name: str
    datatype: str
    shape: Annotated[list[int], Field(description="-1: any size, here the number of images")]


class ModelMetadata(BaseModel):
    name: str
    versions: list[str]
    platform: str
    inputs: Annotated[list[TensorMetadata], Field(description="alternatives; a request has exactly one of them")]
    outputs: list[TensorMetadata]


class ConfigInput(BaseModel):
    name: str
    data_type: str
    dims: Annotated[list[int], Field(description="shape of one image, without the batch dimension")]
    optional: Literal[True] = True


class ConfigOutput(BaseModel):
    name: str
    data_type: str
    dims: list[int]


class DynamicBatching(BaseModel):
    max_queue_delay_microseconds: int
    priority_levels: int
    default_priority_level: int


class ModelConfig(BaseModel):
    name: str
    platform: str
    backend: str
    max_batch_size: int
    input: list[ConfigInput]
    output: list[ConfigOutput]
    dynamic_batching: DynamicBatching


class Duration(BaseModel):
    """Number of events, and their total duration in nanoseconds."""

    count: int = 0
    ns: int = 0


class InferStatistics(BaseModel):
    success: Duration
    fail: Duration
    queue: Duration
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration
    cache_hit: Duration = Duration()
    cache_miss: Duration = Duration()


class BatchStatistics(BaseModel):
    batch_size: int
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration


class ModelStatistics(BaseModel):
    name: str
    version: str
    last_inference: Annotated[int, Field(description="time of the last request, in ms since the epoch; 0: none")]
    inference_count: Annotated[int, Field(description="number of images")]
    execution_count: Annotated[int, Field(description="number of model calls")]
    inference_stats: InferStatistics
    batch_stats: list[BatchStatistics]


class Statistics(BaseModel):
    model_stats: list[ModelStatistics]


class IndexEntry(BaseModel):
    name: str
    version: str
    state: RepositoryState
    reason: str = ""


def describe_model(engine: AsyncEngine, versions: list[str]) -> ModelMetadata:
    """Names, datatypes and shapes of a model's tensors. A model without classes has no outputs."""
    side, classes = engine.info.preprocessing.size, len(engine.info.labels)
    return ModelMetadata(
        name=engine.name,
        versions=versions,
        platform=f"tessella_{engine.info.backend}",
        inputs=[
            TensorMetadata(name="image", datatype="BYTES", shape=[-1]),
            TensorMetadata(name="pixels", datatype="UINT8", shape=[-1, side, side, 3]),
            TensorMetadata(name="pixel_values", datatype="FP32", shape=[-1, 3, side, side]),
        ],
        outputs=[TensorMetadata(name=name, datatype="FP32", shape=[-1, classes]) for name in OUTPUTS if classes],
    )


def describe_config(engine: AsyncEngine, settings: Settings) -> ModelConfig:
    """Configuration in the format of Triton's `ModelConfig`, as its load generators read it."""
    metadata = describe_model(engine, [])
    types = {"BYTES": "TYPE_STRING"}
    return ModelConfig(
        name=engine.name,
        platform=metadata.platform,
        backend="tessella",
        max_batch_size=engine.max_batch_size,
        input=[
            ConfigInput(name=t.name, data_type=types.get(t.datatype, f"TYPE_{t.datatype}"), dims=t.shape[1:])
            for t in metadata.inputs
        ],
        output=[ConfigOutput(name=t.name, data_type=f"TYPE_{t.datatype}", dims=t.shape[1:]) for t in metadata.outputs],
        dynamic_batching=DynamicBatching(
            max_queue_delay_microseconds=round(settings.max_queue_delay_ms * 1e3),
            priority_levels=MAX_PRIORITY,
            default_priority_level=DEFAULT_PRIORITY,
        ),
    )
