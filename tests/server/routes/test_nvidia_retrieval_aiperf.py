"""NVIDIA retrieval route under AIPerf: all requests succeed."""

import json
import os
import subprocess
from pathlib import Path

import pytest

AIPERF = os.environ.get("TESSELLA_AIPERF")
NOWHERE = "http://127.0.0.1:9"
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "NO_PROXY": "127.0.0.1", "HTTPS_PROXY": NOWHERE}


@pytest.mark.slow
@pytest.mark.skipif(AIPERF is None, reason="`make test-aiperf` installs AIPerf and runs this")
def test_an_image_retrieval_run_completes_without_errors(exact: str, tmp_path: Path) -> None:
    options = {
        "url": exact,
        "endpoint-type": "image_retrieval",
        "model": "digits-vit",
        "image-width-mean": "32",
        "image-height-mean": "32",
        "image-batch-size": "2",
        "request-count": "24",
        "concurrency": "3",
        "workers-max": "1",
        "ui": "none",
        "artifact-dir": str(tmp_path),
    }
    command = [str(AIPERF), "profile", "--no-gpu-telemetry"]
    command += [part for name, value in options.items() for part in (f"--{name}", value)]
    environment = {**os.environ, **OFFLINE, "HOME": str(tmp_path)}
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, cwd=tmp_path)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    report = json.loads((tmp_path / "profile_export_aiperf.json").read_text())
    assert report["is_complete"]
    assert not report["error_summary"]
    assert report["request_error_rate"]["avg"] == 0
    assert report["request_count"]["avg"] == report["completed_request_count"]["avg"] == 24
    assert report["num_images"]["avg"] == 2
    served = json.loads((tmp_path / "server_metrics_export.json").read_text())
    assert served["summary"]["endpoints_successful"] == [f"{exact}/metrics"]
