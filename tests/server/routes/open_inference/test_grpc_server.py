"""gRPC server with the official tritonclient, and with messages that no client library sends."""

import asyncio
import json
import re
import signal
import socket
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from tessella.server.serve import reserve_grpc_port
from tessella.server.settings import Settings

from ....support.gated_runner import GatedRunner
from ....support.live import Process, gated
from ....support.open_inference_digits import JPEG, MODELS, PNG, Server, serving

KEY = {"authorization": "Bearer red"}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(*MODELS, "--max-body-bytes", "100000") as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    with triton.InferenceServerClient(server.grpc) as client:
        yield client


@pytest.fixture
def stub(server: Server) -> Iterator[Any]:
    with grpc.insecure_channel(server.grpc) as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


def tensor(name: str, values: NDArray[Any], datatype: str) -> Any:
    input_tensor = triton.InferInput(name, list(values.shape), datatype)
    input_tensor.set_data_from_numpy(values)
    return input_tensor


def image(*files: bytes) -> Any:
    return tensor("image", np.array(files, dtype=np.object_), "BYTES")


def test_health_and_metadata(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("digits-vit")
    assert client.is_model_ready("digits-tnt", "1")
    assert client.get_server_metadata().name == "tessella"
    model = client.get_model_metadata("digits-vit", as_json=True)
    assert [t["name"] for t in model["inputs"]] == ["image", "pixels", "pixel_values"]
    assert model["outputs"][0] == {"name": "logits", "datatype": "FP32", "shape": ["-1", "10"]}


def test_configuration_and_statistics(client: Any) -> None:
    config = client.get_model_config("digits-vit").config
    assert (config.name, config.max_batch_size, config.backend) == ("digits-vit", 32, "tessella")
    types = {t.name: triton.model_config_pb2.DataType.Name(t.data_type) for t in config.input}
    assert types == {"image": "TYPE_STRING", "pixels": "TYPE_UINT8", "pixel_values": "TYPE_FP32"}
    assert all(t.optional for t in config.input)
    assert config.WhichOneof("scheduling_choice") == "dynamic_batching"
    client.infer("digits-vit", [image(PNG)])
    (model,) = client.get_inference_statistics("digits-vit").model_stats
    assert model.inference_stats.success.count == model.inference_stats.compute_output.count >= 1
    assert model.inference_stats.compute_infer.ns > 0
    assert model.batch_stats[0].batch_size == 1
    assert len(client.get_inference_statistics().model_stats) == 2


def test_every_input_gives_the_scores_of_classify(server: Server, client: Any) -> None:
    outputs = [triton.InferRequestedOutput("probabilities"), triton.InferRequestedOutput("logits", class_count=2)]
    answer = client.infer("digits-vit", [image(PNG, JPEG)], outputs=outputs, request_id="a7", priority=1, timeout=10**7)
    assert (answer.get_response().id, answer.get_response().model_version) == ("a7", "1")
    expected = [server.scores(PNG), server.scores(JPEG)]
    assert np.allclose(answer.as_numpy("probabilities"), expected, atol=1e-5)
    assert answer.as_numpy("logits").shape == (2, 2)
    assert answer.as_numpy("logits")[0, 0].endswith(b":7:7")
    normalised = server.normalised()
    for sent in (
        tensor("pixels", server.pixels(), "UINT8"),
        tensor("pixel_values", normalised, "FP32"),
        tensor("pixel_values", normalised.astype(np.float16), "FP16"),
    ):
        assert np.allclose(client.infer("digits-vit", [sent]).as_numpy("probabilities")[0], expected[0], atol=1e-5)


def test_typed_requests_get_typed_responses(server: Server, stub: Any) -> None:
    pixels = server.pixels()
    for name, datatype, shape, contents in (
        ("image", "BYTES", [1], {"bytes_contents": [PNG]}),
        ("pixels", "UINT8", pixels.shape, {"uint_contents": pixels.ravel().tolist()}),
        ("pixel_values", "FP32", server.normalised().shape, {"fp32_contents": server.normalised().ravel().tolist()}),
    ):
        request = service_pb2.ModelInferRequest(model_name="digits-vit")
        request.inputs.add(name=name, datatype=datatype, shape=shape, contents=contents)
        best = request.outputs.add(name="probabilities")
        best.parameters["classification"].int64_param = 1
        request.outputs.add(name="logits")
        answer = stub.ModelInfer(request)
        assert not answer.raw_output_contents
        assert answer.outputs[0].contents.bytes_contents[0].endswith(b":7:7")
        assert len(answer.outputs[1].contents.fp32_contents) == 10


def test_repository_load_and_unload(client: Any) -> None:
    assert [m.state for m in client.get_model_repository_index().models] == ["READY", "READY"]
    client.unload_model("digits-tnt")
    assert [m.state for m in client.get_model_repository_index().models] == ["READY", "UNAVAILABLE"]
    client.load_model("digits-tnt")
    assert client.is_model_ready("digits-tnt")
    with pytest.raises(InferenceServerException, match=r"INVALID_ARGUMENT.*could not be loaded"):
        client.load_model("unheard-of")


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        ("get_system_shared_memory_status", ()),
        ("register_cuda_shared_memory", ("region", b"aGFuZGxl", 0, 64)),
        ("get_trace_settings", ()),
        ("update_log_settings", ({"log_info": True},)),
    ],
)
def test_unsupported_extensions_are_named(client: Any, call: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(
        InferenceServerException, match=r"UNIMPLEMENTED.* is not supported; supported extensions: binary_tensor_data"
    ):
        getattr(client, call)(*arguments)


def test_streaming_is_unsupported(stub: Any) -> None:
    stream = stub.ModelStreamInfer(iter([service_pb2.ModelInferRequest(model_name="digits-vit")]))
    with pytest.raises(grpc.RpcError) as refused:
        next(stream)
    assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert "ModelStreamInfer is not supported" in refused.value.details()


def request_of(**changes: Any) -> Any:
    """Request with one input `pixels` and changes to it; `raw`, `model` and `parameters` are those of the request."""
    raw = changes.pop("raw", [b"\x00" * 1728])
    parameters = changes.pop("parameters", {})
    request = service_pb2.ModelInferRequest(model_name=changes.pop("model", "digits-vit"), raw_input_contents=raw)
    request.inputs.add(**{"name": "pixels", "datatype": "UINT8", "shape": [1, 24, 24, 3], **changes})
    for name, value in parameters.items():
        request.parameters[name].int64_param = value
    return request


@pytest.mark.parametrize(
    ("changes", "code", "reason"),
    [
        ({"model": "unknown"}, "NOT_FOUND", "model 'unknown' is not served"),
        ({"raw": [b"\x00"]}, "INVALID_ARGUMENT", "must have 1728 bytes, not 1"),
        ({"raw": [b"\x00", b"\x00"]}, "INVALID_ARGUMENT", "2 raw_input_contents for 1 inputs"),
        ({"raw": []}, "INVALID_ARGUMENT", "has 0 elements, but its shape [1, 24, 24, 3] requires 1728"),
        ({"shape": [-1, 24, 24, 3]}, "INVALID_ARGUMENT", "dimensions must be integers"),
        ({"shape": [2**62] * 4}, "INVALID_ARGUMENT", "dimensions must be integers"),
        ({"shape": [1] * 9}, "INVALID_ARGUMENT", "at most 8"),
        ({"datatype": "FP64"}, "INVALID_ARGUMENT", "input 'pixels' must have datatype UINT8, not 'FP64'"),
        ({"datatype": "FP16", "raw": []}, "INVALID_ARGUMENT", "typed contents are not supported for 'FP16'"),
        ({"name": "text"}, "INVALID_ARGUMENT", "unknown input 'text'"),
        ({"parameters": {"priority": -1}}, "INVALID_ARGUMENT", "'priority' must be"),
        ({"parameters": {"timeout": 1}}, "DEADLINE_EXCEEDED", "the request timed out after"),
        (
            {"parameters": {"sequence_id": 1}},
            "UNIMPLEMENTED",
            "sequence requests are not supported; omit 'sequence_id'",
        ),
        ({"raw": [b"\x00" * 200_000]}, "RESOURCE_EXHAUSTED", "larger than max"),
    ],
)
def test_malformed_requests(stub: Any, changes: dict[str, Any], code: str, reason: str) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        stub.ModelInfer(request_of(**changes))
    assert (refused.value.code().name, reason in refused.value.details()) == (code, True), refused.value.details()


def test_the_async_client(server: Server) -> None:
    async def use() -> None:
        async with triton_aio.InferenceServerClient(server.grpc) as client:
            answers = await asyncio.gather(*(client.infer("digits-vit", [image(PNG)]) for _ in range(20)))
            assert {int(answer.as_numpy("logits").argmax()) for answer in answers} == {7}

    asyncio.run(use())


def test_calls_require_a_valid_key() -> None:
    options = ("--model", "digits-vit", "--api-key", "red", "--rate-limit", "3")
    with serving(*options) as locked, triton.InferenceServerClient(locked.grpc) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        for headers in (None, {"authorization": "Bearer blue"}):
            with pytest.raises(InferenceServerException, match=r"UNAUTHENTICATED.*missing or invalid API key"):
                client.infer("digits-vit", [image(PNG)], headers=headers)
        assert client.infer("digits-vit", [image(PNG)], headers=KEY).as_numpy("logits").argmax() == 7
        assert client.get_model_config("digits-vit", headers={"x-api-key": "red"})
        with pytest.raises(
            InferenceServerException, match=r"RESOURCE_EXHAUSTED.*rate limit of this API key is exceeded"
        ):
            deque(client.get_server_metadata(headers=KEY) for _ in range(30))


def test_clients_honour_the_retry_pushback() -> None:
    policy = {
        "maxAttempts": 4,
        "initialBackoff": "0.05s",
        "maxBackoff": "0.05s",
        "backoffMultiplier": 1,
        "retryableStatusCodes": ["RESOURCE_EXHAUSTED"],
    }
    config = json.dumps({"methodConfig": [{"name": [{}], "retryPolicy": policy}]})
    with (
        serving("--model", "digits-vit", "--api-key", "red", "--rate-limit", "2") as locked,
        grpc.insecure_channel(locked.grpc, [("grpc.service_config", config)]) as channel,
    ):
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for _ in range(6):
            stub.ServerMetadata(service_pb2.ServerMetadataRequest(), metadata=tuple(KEY.items()), timeout=30)
        counts = httpx.get(f"{locked.url}/metrics", headers=KEY).text
    assert re.search(r'tessella_responses_total\{.*ServerMetadata",status="RESOURCE_EXHAUSTED"\} [1-9]', counts)


def test_accepted_calls_complete_during_shutdown() -> None:
    runner = GatedRunner()
    with reserve_grpc_port(Settings(model=("gated",), grpc_port=0)) as settings, ThreadPoolExecutor() as pool:
        address = f"127.0.0.1:{settings.grpc_port}"
        with gated(runner, settings) as live, triton.InferenceServerClient(address) as client:
            runner.gate.clear()
            answer = pool.submit(client.infer, "gated", [image(PNG)])
            assert runner.begun.acquire(timeout=30)
            live.server.should_exit = True
            while not refused(address):
                time.sleep(0.01)
            runner.gate.set()
            assert answer.result(30).as_numpy("logits").shape == (1, 256)


def refused(address: str) -> bool:
    """Check whether a new connection is refused."""
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port)), 1).close()
    except OSError:
        return True
    return False


def test_admin_calls_through_a_proxy_are_not_local(stub: Any) -> None:
    request = service_pb2.RepositoryModelUnloadRequest(model_name="counted")
    for metadata, code in (
        ((("x-forwarded-for", "127.0.0.1"),), grpc.StatusCode.PERMISSION_DENIED),
        ((), grpc.StatusCode.NOT_FOUND),
    ):
        with pytest.raises(grpc.RpcError) as error:
            stub.RepositoryModelUnload(request, metadata=metadata)
        assert error.value.code() is code


def test_calls_are_counted_by_method_and_code(server: Server, stub: Any) -> None:
    with pytest.raises(grpc.RpcError):
        stub.ModelConfig(service_pb2.ModelConfigRequest(name="counted"))
    text = httpx.get(f"{server.url}/metrics").text
    route = "inference.GRPCInferenceService/ModelConfig"
    assert f'tessella_responses_total{{route="{route}",status="NOT_FOUND"}} 1' in text


def test_a_port_in_use_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        process = Process("--model", "digits-vit", "--grpc-port", port)
        assert process.process.wait(60) == 2
        process.stop(signal.SIGTERM)
    assert f"cannot listen on 127.0.0.1:{port}" in "".join(process.log)
    assert "--grpc-port" in "".join(process.log)
