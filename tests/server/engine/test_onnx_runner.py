"""ONNX runner: exported files give PyTorch's results, in processes without torch, and errors name the alternative."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tessella.models import backend_rule
from tessella.models.checkpoints.sources import shipped
from tessella.models.errors import OperatorError
from tessella.models.onnx.export import ExportOptions, export
from tessella.models.preprocessing.decode import decode
from tessella.models.registry import load_model
from tessella.server.engine.model_loader import load_runner

from ...support import pictures
from ...support.exports import TNT, VIT, write_checkpoint
from ...support.live import served
from ...support.references import timm_network, write_timm

FAMILIES: dict[str, dict[str, Any]] = {
    "vit_tiny_patch16_224": {"img_size": 64},
    "deit_tiny_distilled_patch16_224": {"img_size": 64},
    "deit3_small_patch16_224": {"img_size": 64},
    "tnt_s_patch16_224": {"img_size": 32},
}
PICTURE = pictures.encode(pictures.gradient())


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, Path]]:
    """Checkpoint and .onnx file by served name: timm's families with one block each, and the shipped checkpoints."""
    folder = tmp_path_factory.mktemp("exports")
    sources = {name: name for name in shipped()}
    for name, arguments in FAMILIES.items():
        network = timm_network(name, depth=1, num_classes=5, **arguments)
        sources[name] = str(write_timm(network, folder / name))
    for name, source in sources.items():
        export(source, folder / f"{name}.onnx", ExportOptions(opset=23 if "deit" in name else 20))
    return {name: (source, folder / f"{name}.onnx") for name, source in sources.items()}


@pytest.fixture
def without_torch(tmp_path: Path) -> dict[str, str]:
    """Environment in which a Python process cannot import torch, onnx and onnx_ir."""
    blocked = ("torch", "onnx", "onnx_ir")
    lines = ["import sys", *(f"sys.modules[{name!r}] = None" for name in blocked)]
    (tmp_path / "sitecustomize.py").write_text("\n".join(lines))
    return {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}


def probabilities(source: str) -> "dict[str, float]":
    """Probabilities from PyTorch, by label."""
    model = load_model(source, device="cpu", dtype="float32")
    logits = model.logits(model.preprocess(decode(PICTURE))[None]).numpy()[0].astype(np.float64)
    scores = np.exp(logits - logits.max())
    return dict(zip(model.labels, (scores / scores.sum()).tolist(), strict=True))


def assert_predictions(predictions: list[dict[str, Any]], source: str) -> None:
    expected = probabilities(source)
    assert predictions[0]["label"] == max(expected, key=lambda label: expected[label])
    for prediction in predictions:
        assert prediction["score"] == pytest.approx(expected[prediction["label"]], abs=1e-4)


def test_exported_files_are_served_without_torch(
    files: dict[str, tuple[str, Path]], without_torch: dict[str, str]
) -> None:
    models = [option for _, file in files.values() for option in ("--model", str(file))]
    with served(*models, "--backend", "onnxruntime", **without_torch) as url:
        for name, (source, _) in files.items():
            answer = httpx.post(f"{url}/classify?model={name}&top_k=3", content=PICTURE, timeout=60).json()
            assert_predictions(answer["results"][0]["predictions"], source)
            described = httpx.get(f"{url}/models/{name}").json()
            assert described["backend"] == "onnxruntime"
            assert described["family"] == ("tnt" if "tnt" in name else "vit")
            assert "CPUExecutionProvider" in described["choice"]
            assert described["parameters"] > 10_000


@pytest.mark.parametrize("backend", ["auto", "openvino"])
def test_exported_file_is_classified_without_torch(
    backend: str, files: dict[str, tuple[str, Path]], without_torch: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "picture.png").write_bytes(PICTURE)
    source, file = files["tnt_s_patch16_224"]
    command = [sys.executable, "-m", "tessella.cli", "classify", str(tmp_path / "picture.png"), "--json"]
    process = subprocess.run(
        [*command, "--model", str(file), "--backend", backend, "--dtype", "float32"],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **without_torch},
    )
    assert process.returncode == 0, process.stderr
    (answer,) = json.loads(process.stdout)
    assert_predictions(answer["predictions"], source)


def test_checkpoint_without_torch_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ValueError, match=r"digits-vit is a checkpoint, which needs torch .*\.onnx does not"):
        load_runner("digits-vit")


def test_checkpoint_on_an_onnx_runtime_is_exported_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = str(write_checkpoint(tmp_path / "t.safetensors", TNT))
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    runner = load_runner(source, backend="onnxruntime")
    assert (runner.info.backend, runner.info.device, runner.info.dtype) == ("onnxruntime", "cpu", "float32")
    expected = load_runner(source, backend="torch", dtype="float32").run(pixels)
    assert np.abs(runner.run(pixels) - expected).max() < 1e-5
    monkeypatch.setattr("tessella.models.onnx.export.export", lambda *_: pytest.fail("exported again"))
    assert np.abs(load_runner(source, backend="openvino", dtype="float32").run(pixels) - expected).max() < 1e-5


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize(
    ("options", "runs", "lacks"),
    [
        (ExportOptions(dtype="bfloat16"), "openvino", "onnxruntime"),
        (ExportOptions(fusions=True, quantise="int8"), "onnxruntime", "openvino"),
    ],
    ids=["bfloat16", "fusions"],
)
def test_operators_that_one_runtime_lacks_run_on_the_other(
    large: bool, options: ExportOptions, runs: str, lacks: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requesting the runtime that lacks them is an error, which names the other one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if large:
        monkeypatch.setattr(backend_rule, "SMALL_BYTES", 0)
    source = str(write_checkpoint(tmp_path / "v.safetensors", VIT))
    file = str(export(source, tmp_path / "m.onnx", options).files[0])
    runner = load_runner(file)
    assert runner.info.backend == runs
    assert (runner.info.preferred_batch is not None) == large
    with pytest.raises(OperatorError, match=f"--backend {runs}"):
        load_runner(file, backend=lacks)


def test_unsupported_combinations_are_errors(tmp_path: Path, files: dict[str, tuple[str, Path]]) -> None:
    file = str(files["tnt_s_patch16_224"][1])
    cases: list[tuple[dict[str, Any], str]] = [
        ({"backend": "torch"}, "ONNX file, which backend 'torch' cannot run; choose onnxruntime"),
        ({"backend": "onnxruntime", "device": "cuda:0"}, "no CUDAExecutionProvider"),
        ({"backend": "tensorrt"}, "no TensorrtExecutionProvider"),
        ({"backend": "openvino", "device": "cuda:0"}, "runs on the CPU"),
        ({"backend": "onnxruntime", "dtype": "bfloat16"}, "float32, not in bfloat16: export it with --dtype"),
        ({"backend": "openvino", "dtype": "int3"}, "'int3'"),
    ]
    for arguments, message in cases:
        with pytest.raises(ValueError, match=message):
            load_runner(file, **arguments)
    with pytest.raises(LookupError, match=r"no file .*missing\.onnx"):
        load_runner(str(tmp_path / "missing.onnx"))


def test_damaged_file_ends_the_service_before_it_is_ready(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"not a model")
    process = subprocess.run(
        [sys.executable, "-m", "tessella.cli", "serve", "--port", "0", "--model", str(tmp_path / "m.onnx")],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == 1
    assert "cannot load" in process.stderr
    assert "m.onnx" in process.stderr
