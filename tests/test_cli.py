"""Command line as users run it: a separate process, its exit code and its output; help of every command."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer

import tessella
from tessella import cli
from tessella.server.serve import listen

from .support import pictures
from .support.live import Process


def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "tessella.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "COLUMNS": "200", **environment},
        cwd=Path(__file__).parent,
    )


def assert_refused(process: "subprocess.CompletedProcess[str]", *parts: str) -> None:
    """Exit code 2, the parts of the message on stderr, no traceback."""
    assert process.returncode == 2, process.stderr
    assert "Traceback" not in process.stderr
    for part in parts:
        assert part in process.stderr


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    path.write_bytes(pictures.encode(pictures.gradient()))
    return path


def test_version() -> None:
    assert run("--version").stdout.strip() == tessella.__version__


def commands(group: Any = None, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every command and group by its name, such as `bench kernels`."""
    root: Any = typer.main.get_command(cli.app)
    for name, command in (group or root).commands.items():
        yield f"{prefix}{name}", command
        if hasattr(command, "commands"):
            yield from commands(command, f"{prefix}{name} ")


COMMANDS = dict(commands())


def test_commands_are_listed_in_the_order_of_use() -> None:
    assert list(COMMANDS) == [
        *("serve", "classify", "models", "export", "explain", "tune", "doctor", "bench"),
        *("bench kernels", "bench models", "bench tnt-inner", "bench service"),
    ]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_every_option_has_a_help_text(name: str) -> None:
    assert COMMANDS[name].help
    assert all(parameter.help for parameter in COMMANDS[name].params), name


def test_help_is_printed_by_each_kind_of_command() -> None:
    for command in ([], ["serve"], ["bench", "service"]):
        process = run(*command, "--help")
        assert process.returncode == 0
        assert "Usage" in process.stdout


def test_help_of_a_setting_has_its_allowed_values_and_default() -> None:
    texts = {parameter.name: parameter.help for parameter in COMMANDS["serve"].params}
    assert texts["port"].endswith("(at least 0; at most 65535; default: 8000)")
    assert texts["timeout_ms"].endswith("(above 0; default: 60000)")
    assert texts["drain_delay"].endswith("(at least 0; default: 0)")
    assert texts["log_format"].endswith("(one of text, json; default: text)")
    assert "default" not in texts["access_log"]
    assert {"models", "aliases"}.isdisjoint(texts), "tables cannot be options"


def test_classify_predicts_what_the_server_predicts(service: str, picture: Path) -> None:
    process = run("classify", str(picture), "--json", "--top-k", "3", "--dtype", "float32")
    assert process.returncode == 0, process.stderr
    (answer,) = json.loads(process.stdout)
    assert answer["file"] == str(picture)
    served = httpx.post(f"{service}/classify?top_k=3", content=picture.read_bytes()).json()["results"][0]
    assert rounded(answer) == rounded(served)


def rounded(answer: dict[str, Any]) -> list[tuple[str, float]]:
    return [(prediction["label"], round(prediction["score"], 5)) for prediction in answer["predictions"]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--backend", "triton"], "backend 'triton' cannot run here:"),
        (["--backend", "triton", "--device", "cpu"], "Triton kernels need an NVIDIA GPU, and the device is 'cpu'"),
        (["--batch-invariant"], "batch invariance needs backend 'triton':"),
        (["--batch-invariant", "--backend", "openvino"], "the backend is 'openvino'"),
    ],
)
def test_gpu_only_options_are_refused_with_the_reason(picture: Path, options: list[str], message: str) -> None:
    process = run("classify", str(picture), *options, TRITON_INTERPRET="0", CUDA_VISIBLE_DEVICES="")
    assert_refused(process, message)
    if "--batch-invariant" not in options:
        assert_refused(process, "Use backend 'torch'")


@pytest.mark.parametrize("command", [["tune"], ["bench", "kernels"]])
def test_gpu_commands_are_refused_without_a_gpu(command: list[str]) -> None:
    assert_refused(run(*command, CUDA_VISIBLE_DEVICES=""), "this cannot run here: ")
    assert_refused(run(*command, "--device", "xpu"), "it needs an NVIDIA GPU, and the device is 'xpu'")


def test_roofline_bounds_are_printed_on_any_machine() -> None:
    process = run("bench", "kernels", "--roofline", "h200", "--architecture", "tnt_s_patch16_224")
    assert process.returncode == 0, process.stderr
    assert "tnt_s_patch16_224 on NVIDIA H200 SXM (datasheet)" in process.stderr
    assert_refused(run("bench", "kernels", "--roofline", "voodoo"), "no datasheet for 'voodoo'")


def test_classify_prints_a_table_and_continues_after_an_invalid_file(picture: Path, tmp_path: Path) -> None:
    text = tmp_path / "cat.jpg"
    text.write_text("meow")
    process = run("classify", str(picture), str(text), "--model", "digits-tnt")
    assert process.returncode == 1
    assert "%" in process.stdout
    assert "cat.jpg: not an image" in process.stderr


def test_invalid_arguments_are_named(picture: Path, tmp_path: Path) -> None:
    assert_refused(run("classify", str(tmp_path / "missing.png")), "missing.png")
    assert_refused(run("classify", str(picture), "--model", "resnet50"), "resnet50", "digits-vit")
    assert_refused(run("classify", str(picture), "--dtype", "int3"), "int3", "bfloat16")
    assert_refused(run("classify", str(picture), "--device", "tpu"), "tpu")
    assert_refused(run("serve", "--port", "99999"), "port")
    assert_refused(run("serve", "--model", "digits-vit", "--model", "digits-vit"), "two models", "digits-vit")
    assert_refused(run("serve", TESSELLA_MAX_QUEUE="many"), "max_queue")
    assert_refused(run("serve", "--rate-limit", "5"), "error: rate_limit applies to each API key")


def test_an_invalid_certificate_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    (file := tmp_path / "a.pem").write_text("nothing")
    assert_refused(run("serve", "--tls-key", str(file)), "tls_key is set without tls_certificate")
    assert_refused(run("serve", "--tls-certificate", str(tmp_path / "b.pem")), "b.pem")
    refused = run("serve", "--frontends", "2", "--tls-certificate", str(file), "--tls-key", str(file))
    assert_refused(refused, "a.pem do not contain a PEM certificate with its unencrypted key")


def test_a_port_in_use_is_an_error_that_names_the_option() -> None:
    with listen("127.0.0.1", 0) as taken:
        assert_refused(run("serve", "--port", str(taken.getsockname()[1])), "cannot listen on 127.0.0.1", "--port")


def test_a_model_that_cannot_be_loaded_stops_the_service_with_the_reason() -> None:
    process = Process("--model", "digits-vit", "--model", "resnet50")
    assert process.process.wait(120) == 1
    process.stop()
    assert any("resnet50" in line for line in process.log), process.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_shuts_the_service_down_gracefully(number: int) -> None:
    process = Process("--model", "digits-vit").ready()
    assert httpx.post(f"{process.url}/classify", content=pictures.encode(pictures.gradient())).status_code == 200
    assert process.stop(number) == 0


def test_the_service_listens_before_its_models_are_loaded() -> None:
    process = Process("--model", "digits-vit")
    assert process._listening.wait(60)
    response = httpx.get(f"{process.url}/healthz", timeout=60)
    assert response.status_code == 200
    process.ready()
    assert process.stop() == 0


def test_models_lists_shipped_checkpoints_and_architectures() -> None:
    process = run("models", "--json")
    assert process.returncode == 0, process.stderr
    entries = {entry["name"]: entry for entry in json.loads(process.stdout)}
    assert [entries[name]["kind"] for name in ("digits-vit", "digits-tnt")] == ["shipped", "shipped"]
    base = entries["vit_base_patch16_224"]
    assert (base["kind"], round(base["parameters"] / 1e6, 2), round(base["gmacs"], 2)) == ("architecture", 86.57, 17.58)
    assert "tnt_s_patch16_224" in run("models").stdout


def test_doctor_reports_what_is_chosen_for_the_shipped_models() -> None:
    process = run("doctor")
    assert process.returncode == 0, process.stderr
    for part in ("cpu", "gpu", "torch", "digits-vit", "digits-tnt", "float"):
        assert part in process.stdout


@pytest.mark.parametrize(
    ("command", "remedy"),
    [
        (["export", "--model", "digits-vit", "--output", "m.onnx"], "tessella[torch,onnx]"),
        (["bench", "models"], "tessella[bench]"),
        (["bench", "tnt-inner"], "tessella[bench]"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_commands_that_need_torch_name_the_extra(command: list[str], remedy: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['torch'] = None")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    assert_refused(run(*command, PYTHONPATH=path), "torch", remedy)


def test_a_terminated_export_leaves_no_file(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tessella.cli", "export", "--model", "digits-vit", "--output", "m.onnx"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.iterdir()) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        process.terminate()
        assert process.wait(timeout=60) == 143
    assert not list(tmp_path.iterdir())
