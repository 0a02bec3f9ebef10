"""A served model as the Open Inference Protocol describes it: its tensors, and how it batches."""

from ...batcher import DEFAULT_PRIORITY
from ...engine import AsyncEngine
from ...settings import Settings
from .documents import ConfigInput, ConfigOutput, DynamicBatching, ModelConfig, ModelMetadata, TensorMetadata
from .request import LARGEST_PRIORITY

OUTPUTS = ("logits", "probabilities")


def describe(engine: AsyncEngine, versions: list[str]) -> ModelMetadata:
    """Names, datatypes and shapes of the model's tensors. One that has no classes has no outputs here."""
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


def configuration(engine: AsyncEngine, settings: Settings) -> ModelConfig:
    """What Triton's load tools ask for. Datatypes are those of its `ModelConfig`; dims leave the batch away."""
    metadata = describe(engine, [])
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
            priority_levels=LARGEST_PRIORITY,
            default_priority_level=DEFAULT_PRIORITY,
        ),
    )
