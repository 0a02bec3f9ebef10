"""ONNX Runtime: execution providers, their options and telemetry."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tessella.models.errors import CheckpointError
from tessella.models.onnx.onnxruntime_model import OnnxRuntimeModel, choose_provider, session_providers
from tessella.models.onnx.signature import TensorSpec, read_signature

from ...support.exports import write_foreign, write_sidecar


def test_an_unsupported_opset_is_named(tmp_path: Path) -> None:
    file = write_sidecar(write_foreign(tmp_path / "m.onnx", opset=99))
    with pytest.raises(CheckpointError, match=r"cannot load .*m\.onnx: .*Opset 99"):
        OnnxRuntimeModel(file)


def test_the_provider_is_the_requested_one_or_an_error(tmp_path: Path) -> None:
    cpu, cuda, tensorrt = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
    assert choose_provider("auto", False, [cuda, cpu]) == (cuda, 0)
    assert choose_provider("auto", False, [cpu]) == (cpu, 0)
    assert choose_provider("cpu", False, [cuda, cpu]) == (cpu, 0)
    assert choose_provider("cuda:2", True, [tensorrt, cuda, cpu]) == (tensorrt, 2)
    for device, with_tensorrt, available, message in [
        ("cuda", False, [cpu], f"no {cuda}"),
        ("auto", True, [cuda, cpu], f"no {tensorrt}"),
        ("cpu", True, [tensorrt, cpu], "TensorRT needs a GPU"),
        ("tpu", False, [cpu], "'tpu'"),
        ("cuda:x", False, [cuda], "'cuda:x'"),
        ("cpu:1", False, [cpu], "'cpu:1'"),
    ]:
        with pytest.raises(ValueError, match=message):
            choose_provider(device, with_tensorrt, available)
    with pytest.raises(ValueError, match=f"no {cuda}"):
        OnnxRuntimeModel(write_sidecar(write_foreign(tmp_path / "m.onnx")), device="cuda:0")


def test_tensorrt_has_profiles_for_every_batch_and_caches_its_engines(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    signature = read_signature(
        [TensorSpec("pixels", "uint8", (None, 224, 224, 3))],
        [TensorSpec("logits", "float32", (None, 10))],
        Path("m.onnx"),
    )
    (name, settings), (second, _) = session_providers("TensorrtExecutionProvider", 1, Path("m.onnx"), signature, 16)
    assert (name, second) == ("TensorrtExecutionProvider", "CUDAExecutionProvider")
    assert settings["trt_profile_min_shapes"] == "pixels:1x224x224x3"
    assert settings["trt_profile_max_shapes"] == "pixels:16x224x224x3"
    assert settings["trt_engine_cache_path"].startswith(str(tmp_path))
    assert settings["device_id"] == "1"


@pytest.mark.parametrize("given", [{}, {"ORT_DISABLE_TELEMETRY": "0"}], ids=["default", "opted in"])
def test_telemetry_is_off_by_default(given: dict[str, str], tmp_path: Path) -> None:
    """Telemetry would keep its queue and an identity in the user's cache folder, which stays empty here."""
    file = write_sidecar(write_foreign(tmp_path / "m.onnx"))
    lines = (
        "import os",
        "from pathlib import Path",
        "from tessella.models.onnx.onnxruntime_model import OnnxRuntimeModel",
        f"OnnxRuntimeModel(Path({str(file)!r}), device='cpu')",
        "print(os.environ['ORT_DISABLE_TELEMETRY'])",
    )
    clean = {name: value for name, value in os.environ.items() if name not in ("ORT_DISABLE_TELEMETRY", "CI")}
    variables = {**clean, **given, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    process = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], env=variables, capture_output=True, text=True, timeout=100, check=True
    )
    assert process.stdout.split() == [given.get("ORT_DISABLE_TELEMETRY", "1")]
    assert given or not (tmp_path / "cache").exists()
