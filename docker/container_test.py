"""Container images, built and run: `make container-test`. Needs docker, podman or buildah; no Python packages.

CONTAINER_ENGINE      docker, podman or buildah; default: the first that works. buildah only builds images.
CONTAINER_TARGETS     targets of docker/Dockerfile; default: "cpu onnx"
CONTAINER_BUILD_ARGS  further arguments of each build, such as "--build-arg TORCH_INDEX=<url>"
CONTAINER_RUN_ARGS    further arguments of each run, such as "--network host"
"""

import base64
import json
import os
import shlex
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MAX_IMAGE_BYTES = {"cpu": 1.30e9, "onnx": 0.35e9}
"""Size limits. None for the cuda target: its size is that of torch's CUDA packages."""
HARDENED = (
    *("--read-only", "--tmpfs", "/tmp", "--cap-drop", "all", "--security-opt", "no-new-privileges"),
    *("--memory", "3g", "--pids-limit", "400"),
)


class CheckFailed(Exception):
    """A failed check."""


def expect(condition: object, message: object) -> None:
    if not condition:
        raise CheckFailed(message)


@dataclass(frozen=True, slots=True)
class ContainerEngine:
    """Command line of docker, podman or buildah; the latter only builds images."""

    name: str

    @classmethod
    def find(cls, name: str | None) -> "ContainerEngine":
        """The first engine that works; only `name` is tried if it is given."""
        for candidate in [name] if name else ["docker", "podman", "buildah"]:
            if shutil.which(candidate) and cls(candidate)("info", check=False).returncode == 0:
                return cls(candidate)
        sys.exit(f"no usable container engine: tried {name or 'docker, podman and buildah'}")

    def __call__(self, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        result = subprocess.run([self.name, *arguments], capture_output=True, text=True)
        if check and result.returncode:
            raise CheckFailed(f"{self.name} {shlex.join(arguments)}: {result.stderr[-3000:] or result.stdout[-3000:]}")
        return result

    def build(self, target: str, *options: str) -> None:
        format = () if self.name == "docker" else ("--format", "docker")  # the OCI format has no HEALTHCHECK
        extra = shlex.split(os.environ.get("CONTAINER_BUILD_ARGS", ""))
        file = str(ROOT / "docker" / "Dockerfile")
        self("build", *format, *extra, "--file", file, "--target", target, *options, str(ROOT))

    def inspect(self, kind: str, name: str) -> dict[str, Any]:
        properties: dict[str, Any] = json.loads(self(kind, "inspect", name).stdout)[0]
        return properties

    @contextmanager
    def run(self, target: str, *options: str, command: Sequence[str] = ()) -> Iterator["Container"]:
        """Context manager: a running container, hardened as in production; removed on exit."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        published = ("--env", f"TESSELLA_PORT={port}", "--publish", f"127.0.0.1:{port}:{port}")
        extra = shlex.split(os.environ.get("CONTAINER_RUN_ARGS", ""))
        arguments = (*HARDENED, *published, *extra, *options, image(target), *command)
        name = self("run", "--detach", *arguments).stdout.split()[-1]
        try:
            yield Container(self, name, f"http://127.0.0.1:{port}")
        finally:
            self("rm", "--force", "--volumes", name, check=False)


@dataclass(frozen=True, slots=True)
class Container:
    """A running container of the service."""

    engine: ContainerEngine
    name: str
    url: str

    def wait_until_ready(self, timeout: float = 180) -> float:
        """Seconds from now until the service is ready."""
        started = time.monotonic()
        while self.status("/readyz") != 200:
            state = self.engine.inspect("container", self.name)["State"]
            expect(state["Running"], f"the container exited with code {state['ExitCode']}: {self.logs()}")
            expect(time.monotonic() - started < timeout, f"not ready within {timeout:.0f} s: {self.logs()}")
            time.sleep(0.1)
        return time.monotonic() - started

    def status(self, path: str) -> int:
        """HTTP status; 0 without a response."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def classify(self, *images: bytes) -> list[Any]:
        data = json.dumps({"inputs": [base64.b64encode(image).decode() for image in images]})
        request = urllib.request.Request(f"{self.url}/classify", data.encode(), {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as response:
            results: list[Any] = json.load(response)["results"]
            return results

    def exec(self, *command: str) -> int:
        return self.engine("exec", self.name, *command, check=False).returncode

    def healthy(self) -> bool:
        """Result of the image's HEALTHCHECK command, run once."""
        config = self.engine.inspect("container", self.name)["Config"]
        return self.exec(*config["Healthcheck"]["Test"][1:]) == 0

    def wait(self) -> int:
        """Exit code, once the container has stopped."""
        return int(self.engine("wait", self.name).stdout)

    def logs(self) -> str:
        result = self.engine("logs", self.name, check=False)
        return (result.stdout + result.stderr)[-3000:]


def image(target: str) -> str:
    return f"localhost/tessella:{target}"


def png(width: int, height: int, row: Callable[[int], bytes]) -> bytes:
    """Encode a greyscale PNG; `row` returns the bytes of each line."""
    lines = b"".join(b"\0" + row(y) for y in range(height))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(lines, 1)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def zero() -> bytes:
    """PNG of a ring that is classified as a handwritten 0."""

    def ink(x: int, y: int) -> int:
        radius = ((x - 28) / 14) ** 2 + ((y - 28) / 20) ** 2
        return 255 if 0.6 < radius < 1.4 else 0

    return png(56, 56, lambda y: bytes(ink(x, y) for x in range(56)))


def check_serving(engine: ContainerEngine, target: str) -> str:
    """serves without root, privileges or writable files outside its cache; classifies a digit; stops on SIGTERM"""
    config = engine.inspect("image", image(target))["Config"]
    expect(config["User"] == "10001:10001", f"user {config['User']!r}")
    expect("org.opencontainers.image.title" in config["Labels"], config["Labels"])
    with engine.run(target) as container:
        seconds = container.wait_until_ready()
        expect(container.exec("sh", "-c", "test $(id -u) -ne 0") == 0, "the service runs as root")
        expect(container.exec("sh", "-c", "touch /etc/tessella/x /usr/local/x /x") != 0, "its files are writable")
        expect(container.exec("sh", "-c", "touch /cache/x /tmp/x") == 0, "its cache is not writable")
        torch = container.exec("python3", "-c", "import torch")
        expect((torch == 0) == (target != "onnx"), f"importing torch exits with {torch}")
        expect(container.healthy(), "the health check fails although the service is ready")
        (result,) = container.classify(zero())
        expect(result["predictions"][0]["label"] == "0", result)
        code = stop_with_a_request_in_flight(container)
    return f"ready after {seconds:.1f} s, exit code {code}"


def stop_with_a_request_in_flight(container: Container) -> int:
    """Send SIGTERM while large images are being decoded; they must be answered before the container exits."""
    large = png(6000, 6000, lambda y: bytes(6000))
    results: list[Any] = []
    request = threading.Thread(target=lambda: results.extend(container.classify(*[large] * 24)))
    request.start()
    while request.is_alive() and pending(container) == 0:
        time.sleep(0.02)
    container.engine("kill", "--signal", "TERM", container.name)
    expect(request.is_alive(), "the request was answered before SIGTERM was sent")
    request.join(120)
    expect(len(results) == 24, f"the request in flight was lost: {container.logs()}")
    expect(all("predictions" in result for result in results), results)
    code = container.wait()
    expect(code in (0, 143), f"exit code {code}")
    return code


def pending(container: Container) -> float:
    """Number of accepted images without a result."""
    with urllib.request.urlopen(f"{container.url}/metrics", timeout=10) as response:
        lines = response.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("nv_inference_pending_request_count"))


def check_unhealthy(engine: ContainerEngine, target: str) -> str:
    """is unhealthy without a running server"""
    with engine.run(target, "--entrypoint", "sleep", command=["60"]) as container:
        expect(not container.healthy(), "the health check passes although no server is running")
    return ""


def check_compiler(engine: ContainerEngine, target: str) -> str:
    """has the C compiler and headers that triton needs, if it has triton"""
    if target != "cuda":
        return "no triton"
    include = "import sysconfig; print(sysconfig.get_path('include'))"
    compile_one = f"echo '#include <Python.h>' | gcc -x c -fsyntax-only -I$(python3 -c \"{include}\") -"
    with engine.run(target, "--entrypoint", "sleep", command=["60"]) as container:
        expect(container.exec("sh", "-c", compile_one) == 0, "gcc cannot compile against Python.h")
        expect(container.exec("python3", "-c", "import triton") == 0, "triton cannot be imported")
    return ""


def check_read_only_cache(engine: ContainerEngine, target: str) -> str:
    """exits with an error message if it needs its cache and the cache is not writable"""
    if target != "cpu":
        return "skipped: the cache is not used"
    command = ["serve", "--model", "digits-vit", "--backend", "onnxruntime"]
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        with engine.run(target, "--volume", f"{folder}:/cache:ro", command=command) as container:
            code = container.wait()
            expect(code == 1, f"exit code {code}")
            log = container.logs()
    expect("the cache /cache/tessella" in log and "Mount a writable volume" in log, log)
    return f"exit code {code}"


def check_sbom(engine: ContainerEngine, target: str) -> str:
    """has a software bill of materials"""
    with tempfile.TemporaryDirectory() as folder:
        engine.build("sbom", "--build-arg", f"SBOM_OF={target}", "--output", f"type=local,dest={folder}")
        document = json.loads((Path(folder) / "python.cdx.json").read_text())
        system = (Path(folder) / "debian.tsv").read_text().splitlines()
    names = {component["name"] for component in document["components"]}
    expect({"tessella", "numpy", "fastapi"} <= names, sorted(names))
    return f"{len(names)} Python packages, {len(system)} of Debian"


CHECKS = (check_serving, check_unhealthy, check_compiler, check_read_only_cache, check_sbom)


def main() -> int:
    engine = ContainerEngine.find(os.environ.get("CONTAINER_ENGINE"))
    print(f"container engine: {engine.name}", flush=True)
    failures = 0
    for target in os.environ.get("CONTAINER_TARGETS", "cpu onnx").split():
        failures += not passes(check_build, engine, target)
        for check in CHECKS if engine.name != "buildah" else ():
            failures += not passes(check, engine, target)
    print("all passed" if not failures else f"{failures} failed")
    return int(failures > 0)


def check_build(engine: ContainerEngine, target: str) -> str:
    """builds, and is not larger than its limit"""
    engine.build(target, "--tag", image(target))
    if engine.name == "buildah":
        return "not run: buildah only builds images"
    size = engine.inspect("image", image(target))["Size"]
    expect(size <= MAX_IMAGE_BYTES.get(target, size), f"{size / 1e6:.0f} MB")
    return f"{size / 1e6:.0f} MB"


def passes(check: Callable[[ContainerEngine, str], str], engine: ContainerEngine, target: str) -> bool:
    """Run a check and print its result."""
    start = time.monotonic()
    try:
        detail = check(engine, target)
    except (CheckFailed, OSError) as error:
        print(f"FAIL {target} {check.__doc__}: {error}", flush=True)
        return False
    print(f"ok   {target} {check.__doc__} ({time.monotonic() - start:.1f} s{', ' * bool(detail)}{detail})", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
