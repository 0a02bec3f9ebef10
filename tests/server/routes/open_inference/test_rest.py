"""REST routes with the official tritonclient, sync and async: all calls of the supported extensions."""

import asyncio
import base64
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from tessella import __version__

from ....support.open_inference_digits import JPEG, MODELS, PNG, Server, serving


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(*MODELS) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    with triton.InferenceServerClient(server.host) as client:
        yield client


def tensor(name: str, values: NDArray[Any], datatype: str, *, binary: bool = True, module: Any = triton) -> Any:
    input_tensor = module.InferInput(name, list(values.shape), datatype)
    input_tensor.set_data_from_numpy(values, binary_data=binary)
    return input_tensor


def image(*files: bytes, binary: bool = True, module: Any = triton) -> Any:
    return tensor("image", np.array(files, dtype=np.object_), "BYTES", binary=binary, module=module)


def logits(client: Any, *inputs: Any, **options: Any) -> NDArray[np.float32]:
    output: NDArray[np.float32] = client.infer("digits-vit", list(inputs), **options).as_numpy("logits")
    return output


def test_health_and_metadata(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("digits-vit")
    assert client.is_model_ready("digits-vit", "1")
    assert not client.is_model_ready("digits-vit", "2")
    assert not client.is_model_ready("unknown")
    server = client.get_server_metadata()
    assert (server["name"], server["version"]) == ("tessella", __version__)
    assert {"binary_tensor_data", "classification", "statistics", "model_configuration"} <= set(server["extensions"])
    for version in ("", "1"):
        model = client.get_model_metadata("digits-tnt", version)
        assert (model["name"], model["versions"]) == ("digits-tnt", ["1"])
        assert {t["name"]: t["datatype"] for t in model["inputs"]} == {
            "image": "BYTES",
            "pixels": "UINT8",
            "pixel_values": "FP32",
        }
        assert {t["name"]: t["shape"] for t in model["outputs"]} == {"logits": [-1, 10], "probabilities": [-1, 10]}


def test_the_configuration_agrees_with_the_metadata(client: Any) -> None:
    """With max_batch_size set, dims omit the first dimension of the metadata, as perf_analyzer expects."""
    config = client.get_model_config("digits-vit")
    metadata = client.get_model_metadata("digits-vit")
    assert config["max_batch_size"] == 32
    assert "dynamic_batching" in config
    for kind in ("input", "output"):
        assert {t["name"]: [-1, *t["dims"]] for t in config[kind]} == {
            t["name"]: t["shape"] for t in metadata[f"{kind}s"]
        }
    assert all(tensor["optional"] for tensor in config["input"])


@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
@pytest.mark.parametrize("version", ["", "1"])
def test_encoded_images_give_the_scores_of_classify(
    server: Server, client: Any, version: str, compression: str | None
) -> None:
    answer = client.infer(
        "digits-vit",
        [image(PNG, JPEG)],
        version,
        request_id="a7",
        request_compression_algorithm=compression,
        response_compression_algorithm=compression,
    )
    assert answer.get_response()["id"] == "a7"
    assert answer.get_response()["model_version"] == "1"
    probabilities = answer.as_numpy("probabilities")
    assert (probabilities.shape, probabilities.dtype) == ((2, 10), np.float32)
    assert np.allclose(probabilities, [server.scores(PNG), server.scores(JPEG)], atol=1e-5)
    scores = np.exp(answer.as_numpy("logits"))
    assert np.allclose(scores / scores.sum(-1, keepdims=True), probabilities, atol=1e-5)


def test_a_column_of_images_is_accepted(client: Any) -> None:
    column = tensor("image", np.array([[PNG], [JPEG]], dtype=np.object_), "BYTES")
    assert np.allclose(logits(client, column), logits(client, image(PNG, JPEG)), atol=1e-4)


def test_all_pixel_inputs_are_equivalent(server: Server, client: Any) -> None:
    expected = logits(client, image(PNG))
    normalised = server.normalised()
    for binary in (True, False):
        assert np.allclose(logits(client, tensor("pixels", server.pixels(), "UINT8", binary=binary)), expected)
        assert np.allclose(logits(client, tensor("pixel_values", normalised, "FP32", binary=binary)), expected)
    assert np.allclose(logits(client, tensor("pixel_values", normalised.astype(np.float16), "FP16")), expected)


def test_json_input_and_output(client: Any) -> None:
    expected = logits(client, image(PNG))
    as_text = image(base64.b64encode(PNG), binary=False)
    data_uri = image(b"data:image/png;base64," + base64.b64encode(PNG), binary=False)
    outputs = [triton.InferRequestedOutput("logits", binary_data=False)]
    for sent in (image(PNG), as_text, data_uri):
        answer = client.infer("digits-vit", [sent], outputs=outputs)
        (output,) = answer.get_response()["outputs"]
        assert len(output["data"]) == 10
        assert np.allclose(answer.as_numpy("logits"), expected, atol=1e-5)
        assert answer.as_numpy("probabilities") is None


def test_requested_outputs_keep_order_and_format(client: Any) -> None:
    outputs = [
        triton.InferRequestedOutput("probabilities", binary_data=False, class_count=2),
        triton.InferRequestedOutput("logits", binary_data=True, class_count=99),
    ]
    answer = client.infer("digits-vit", [image(PNG, PNG)], outputs=outputs)
    best, every = answer.get_response()["outputs"]
    assert (best["name"], best["datatype"], best["shape"]) == ("probabilities", "BYTES", [2, 2])
    value, index, label = best["data"][0].split(":")
    assert (index, label) == ("7", "7")
    assert float(value) == pytest.approx(answer_of(client)[7], abs=1e-5)
    assert (every["datatype"], every["shape"]) == ("BYTES", [2, 10])
    rows = answer.as_numpy("logits")
    assert [int(element.split(b":")[1]) for element in rows[0]] == np.argsort(-logits(client, image(PNG))[0]).tolist()


def answer_of(client: Any) -> NDArray[np.float32]:
    output: NDArray[np.float32] = client.infer("digits-vit", [image(PNG)]).as_numpy("probabilities")[0]
    return output


def test_priority_timeout_and_other_parameters(client: Any) -> None:
    assert logits(client, image(PNG), priority=1, timeout=30_000_000, parameters={"mine": "x"}).shape == (1, 10)
    with pytest.raises(InferenceServerException, match=r"the request timed out after 1e-06 s") as late:
        client.infer("digits-vit", [image(PNG)], timeout=1)
    assert late.value.status() == "504"
    with pytest.raises(InferenceServerException, match=r"'priority' must be an integer from 0 to 100, not 101"):
        client.infer("digits-vit", [image(PNG)], priority=101)


def test_async_requests_and_prebuilt_bodies(client: Any) -> None:
    expected = logits(client, image(PNG))
    pending = [client.async_infer("digits-vit", [image(PNG)]) for _ in range(3)]
    assert all(np.allclose(one.get_result().as_numpy("logits"), expected, atol=1e-4) for one in pending)
    body, header_length = triton.InferenceServerClient.generate_request_body([image(PNG)])
    assert header_length is not None
    response = client._post(
        "v2/models/digits-vit/infer", body, {"Inference-Header-Content-Length": header_length}, query_params=None
    )
    parsed = triton.InferenceServerClient.parse_response_body(
        response.read(), header_length=int(response["inference-header-content-length"])
    )
    assert np.allclose(parsed.as_numpy("logits"), expected, atol=1e-4)


def test_statistics(client: Any) -> None:
    before = client.get_inference_statistics("digits-tnt")["model_stats"][0]
    for files in ((PNG,), (PNG, PNG, PNG)):
        client.infer("digits-tnt", [image(*files)])
    with pytest.raises(InferenceServerException):
        client.infer("digits-tnt", [image(b"no picture")])
    after = client.get_inference_statistics("digits-tnt", "1")["model_stats"][0]
    assert (after["name"], after["version"]) == ("digits-tnt", "1")
    assert after["inference_count"] - before["inference_count"] == 4
    counts = after["inference_stats"]
    difference = {name: counts[name]["count"] - before["inference_stats"][name]["count"] for name in counts}
    parts = dict.fromkeys(("success", "queue", "compute_input", "compute_infer", "compute_output"), 2)
    assert difference == {**parts, "fail": 1, "cache_hit": 0, "cache_miss": 0}
    assert all(counts[name]["ns"] > 0 for name in ("success", "queue", "compute_input", "compute_infer", "fail"))
    assert after["last_inference"] > 1_700_000_000_000
    batches = after["batch_stats"]
    assert sum(batch["compute_infer"]["count"] for batch in batches) == after["execution_count"]
    assert sum(batch["batch_size"] * batch["compute_infer"]["count"] for batch in batches) == after["inference_count"]
    assert all(batch["compute_infer"]["ns"] > 0 for batch in batches)
    names = [model["name"] for model in client.get_inference_statistics()["model_stats"]]
    assert names == ["digits-vit", "digits-tnt"]


def test_repository_load_and_unload(client: Any) -> None:
    assert [(m["name"], m["version"], m["state"]) for m in client.get_model_repository_index()] == [
        ("digits-vit", "1", "READY"),
        ("digits-tnt", "1", "READY"),
    ]
    client.unload_model("digits-tnt")
    states = {m["name"]: (m["state"], m["reason"]) for m in client.get_model_repository_index()}
    assert states["digits-tnt"] == ("UNAVAILABLE", "unloaded")
    assert not client.is_model_ready("digits-tnt")
    assert client.is_server_ready()
    with pytest.raises(InferenceServerException, match="not loaded"):
        client.infer("digits-tnt", [image(PNG)])
    client.load_model("digits-tnt")
    client.load_model("digits-tnt")  # again
    assert client.infer("digits-tnt", [image(PNG)]).as_numpy("logits").shape == (1, 10)
    with pytest.raises(InferenceServerException, match=r"\[400\] model unheard-of:1 could not be loaded"):
        client.load_model("unheard-of")
    with pytest.raises(InferenceServerException, match=r"\[404\].*model 'unheard-of' is not served"):
        client.unload_model("unheard-of")
    with pytest.raises(InferenceServerException, match=r"\[501\].*'config'"):
        client.load_model("digits-tnt", config="{}")


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        ("get_system_shared_memory_status", ()),
        ("register_system_shared_memory", ("region", "/key", 64)),
        ("unregister_system_shared_memory", ()),
        ("get_cuda_shared_memory_status", ("region",)),
        ("register_cuda_shared_memory", ("region", b"handle", 0, 64)),
        ("unregister_cuda_shared_memory", ("region",)),
        ("get_trace_settings", ()),
        ("get_trace_settings", ("digits-vit",)),
        ("update_trace_settings", (None, {"trace_level": ["OFF"]})),
        ("get_log_settings", ()),
        ("update_log_settings", ({"log_info": True},)),
    ],
)
def test_unsupported_extensions_are_named(client: Any, call: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(
        InferenceServerException, match="this extension is not supported; supported: binary_tensor_data"
    ) as refused:
        getattr(client, call)(*arguments)
    assert refused.value.status() == "501"


def test_shared_memory_and_sequences_are_unsupported(client: Any) -> None:
    elsewhere = triton.InferInput("pixels", [1, 24, 24, 3], "UINT8")
    elsewhere.set_shared_memory("region", 1728)
    with pytest.raises(InferenceServerException, match=r"\[501\] input 'pixels': shared memory is not supported"):
        client.infer("digits-vit", [elsewhere])
    output = triton.InferRequestedOutput("logits")
    output.set_shared_memory("region", 40)
    with pytest.raises(InferenceServerException, match=r"\[501\] output 'logits': shared memory is not supported"):
        client.infer("digits-vit", [image(PNG)], outputs=[output])
    with pytest.raises(
        InferenceServerException, match=r"\[501\] sequence requests are not supported; omit 'sequence_id'"
    ):
        client.infer("digits-vit", [image(PNG)], sequence_id=3, sequence_start=True)


def test_errors_name_the_cause(client: Any) -> None:
    with pytest.raises(InferenceServerException, match=r"\[404\] model 'unknown' is not served; available: digits-vit"):
        client.infer("unknown", [image(PNG)])
    with pytest.raises(
        InferenceServerException, match=r"\[404\] model 'digits-vit' has no version '2'; available versions: 1"
    ):
        client.infer("digits-vit", [image(PNG)], model_version="2")
    with pytest.raises(InferenceServerException, match=r"\[400\] image 1: not an image"):
        client.infer("digits-vit", [image(PNG, b"text")])
    with pytest.raises(InferenceServerException, match=r"\[400\] unknown output 'scores'"):
        client.infer("digits-vit", [image(PNG)], outputs=[triton.InferRequestedOutput("scores")])


def test_the_async_client(server: Server) -> None:
    asyncio.run(use_the_async_client(server))


async def use_the_async_client(server: Server) -> None:
    async with triton_aio.InferenceServerClient(server.host) as client:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready("digits-vit")
        assert (await client.get_server_metadata())["name"] == "tessella"
        assert (await client.get_model_metadata("digits-vit"))["name"] == "digits-vit"
        assert (await client.get_model_config("digits-vit"))["max_batch_size"] == 32
        assert (await client.get_inference_statistics())["model_stats"]
        assert len(await client.get_model_repository_index()) == 2
        sent = image(PNG, module=triton_aio)
        outputs = [triton_aio.InferRequestedOutput("probabilities", class_count=1)]
        answer = await client.infer("digits-vit", [sent], outputs=outputs, request_compression_algorithm="gzip")
        assert answer.as_numpy("probabilities")[0, 0].endswith(b":7:7")
        with pytest.raises(
            InferenceServerException, match="this extension is not supported; supported: binary_tensor_data"
        ):
            await client.get_log_settings()
        with pytest.raises(InferenceServerException, match="model 'unknown' is not served"):
            await client.infer("unknown", [sent])
