"""Model metadata and configuration: tensors of an engine, and their agreement."""

from types import SimpleNamespace
from typing import cast

import pytest

from tessella.models.preprocessing.preprocess import Preprocessing
from tessella.server.engine.engine import AsyncEngine
from tessella.server.routes.open_inference import tessella_open_inference_pb2 as pb
from tessella.server.routes.open_inference.metadata import OUTPUTS, describe_config, describe_model
from tessella.server.settings import Settings


def engine(*labels: str) -> AsyncEngine:
    info = SimpleNamespace(preprocessing=Preprocessing(size=24, resize=24), labels=labels, backend="torch")
    return cast(AsyncEngine, SimpleNamespace(name="a", info=info, max_batch_size=8))


def test_tensors_of_a_classifier() -> None:
    metadata = describe_model(engine("cat", "dog"), ["1", "2"])
    assert (metadata.name, metadata.versions, metadata.platform) == ("a", ["1", "2"], "tessella_torch")
    assert {tensor.name: (tensor.datatype, tensor.shape) for tensor in metadata.inputs} == {
        "image": ("BYTES", [-1]),
        "pixels": ("UINT8", [-1, 24, 24, 3]),
        "pixel_values": ("FP32", [-1, 3, 24, 24]),
    }
    assert {tensor.name: tensor.shape for tensor in metadata.outputs} == {name: [-1, 2] for name in OUTPUTS}


def test_a_model_without_classes_has_no_outputs() -> None:
    assert describe_model(engine(), []).outputs == []


@pytest.mark.parametrize("kind", ["input", "output"])
def test_dims_of_the_configuration_omit_the_batch(kind: str) -> None:
    classifier = engine("cat", "dog")
    config, metadata = describe_config(classifier, Settings()).model_dump(), describe_model(classifier, [])
    tensors = {"input": metadata.inputs, "output": metadata.outputs}[kind]
    assert [(t["name"], [-1, *t["dims"]]) for t in config[kind]] == [(t.name, t.shape) for t in tensors]
    assert {t["data_type"] for t in config[kind]} <= set(pb.DataType.keys())


def test_scheduling_is_that_of_the_settings() -> None:
    batching = describe_config(engine("cat"), Settings(max_queue_delay_ms=1.5)).dynamic_batching
    assert batching.max_queue_delay_microseconds == 1500
    assert 1 <= batching.default_priority_level <= batching.priority_levels
