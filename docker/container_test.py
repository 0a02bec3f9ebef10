"""Builds the images and runs them: `make container-test`. Needs docker, podman or buildah, and nothing but Python.

CONTAINER_ENGINE      docker, podman or buildah; by default the first that works. buildah builds and does not run.
CONTAINER_TARGETS     of docker/Dockerfile; by default "cpu onnx"
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
LARGEST = {"cpu": 1.30e9, "onnx": 0.35e9}
"""Bytes that an image may have. That of the cuda target is what torch's CUDA packages make it."""
HARDENED = (
    *("--read-only", "--tmpfs", "/tmp", "--cap-drop", "all", "--security-opt", "no-new-privileges"),
    *("--memory", "3g", "--pids-limit", "400"),
)


class Failed(Exception):
    """What a check found."""


def expect(condition: object, found: object) -> None:
    if not condition:
        raise Failed(found)


@dataclass(frozen=True, slots=True)
class Engine:
    """A program that builds images, and runs them if it is not buildah."""

    name: str

    @classmethod
    def find(cls, wanted: str | None) -> "Engine":
        for name in [wanted] if wanted else ["docker", "podman", "buildah"]:
            if shutil.which(name) and cls(name)("info", check=False).returncode == 0:
                return cls(name)
        sys.exit(f"no container engine: {wanted or 'docker, podman and buildah'} cannot be used here")

    def __call__(self, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run([self.name, *arguments], capture_output=True, text=True)
        if check and done.returncode:
            raise Failed(f"{self.name} {shlex.join(arguments)}: {done.stderr[-3000:] or done.stdout[-3000:]}")
        return done

    def build(self, target: str, *options: str) -> None:
        form = () if self.name == "docker" else ("--format", "docker")  # OCI's form has no HEALTHCHECK
        further = shlex.split(os.environ.get("CONTAINER_BUILD_ARGS", ""))
        file = str(ROOT / "docker" / "Dockerfile")
        self("build", *form, *further, "--file", file, "--target", target, *options, str(ROOT))

    def inspect(self, kind: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self(kind, "inspect", name).stdout)[0]
        return found

    @contextmanager
    def run(self, target: str, *options: str, command: Sequence[str] = ()) -> Iterator["Container"]:
        """A container as it should be run in production; removed with the block."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        published = ("--env", f"TESSELLA_PORT={port}", "--publish", f"127.0.0.1:{port}:{port}")
        further = shlex.split(os.environ.get("CONTAINER_RUN_ARGS", ""))
        arguments = (*HARDENED, *published, *further, *options, image(target), *command)
        name = self("run", "--detach", *arguments).stdout.split()[-1]
        try:
            yield Container(self, name, f"http://127.0.0.1:{port}")
        finally:
            self("rm", "--force", "--volumes", name, check=False)


@dataclass(frozen=True, slots=True)
class Container:
    engine: Engine
    name: str
    url: str

    def ready(self, within: float = 180) -> float:
        """Seconds until it was."""
        started = time.monotonic()
        while self.status("/readyz") != 200:
            state = self.engine.inspect("container", self.name)["State"]
            expect(state["Running"], f"it has ended with {state['ExitCode']}: {self.logs()}")
            expect(time.monotonic() - started < within, f"not ready within {within:.0f} s: {self.logs()}")
            time.sleep(0.1)
        return time.monotonic() - started

    def status(self, path: str) -> int:
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def classify(self, *pictures: bytes) -> list[Any]:
        data = json.dumps({"inputs": [base64.b64encode(picture).decode() for picture in pictures]})
        request = urllib.request.Request(f"{self.url}/classify", data.encode(), {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as response:
            results: list[Any] = json.load(response)["results"]
            return results

    def exec(self, *command: str) -> int:
        return self.engine("exec", self.name, *command, check=False).returncode

    def healthy(self) -> bool:
        """What the image's own HEALTHCHECK says, run once."""
        config = self.engine.inspect("container", self.name)["Config"]
        return self.exec(*config["Healthcheck"]["Test"][1:]) == 0

    def wait(self) -> int:
        return int(self.engine("wait", self.name).stdout)

    def logs(self) -> str:
        done = self.engine("logs", self.name, check=False)
        return (done.stdout + done.stderr)[-3000:]


def image(target: str) -> str:
    return f"localhost/tessella:{target}"


def png(width: int, height: int, row: Callable[[int], bytes]) -> bytes:
    """A grey PNG; `row` gives the bytes of each line."""
    lines = b"".join(b"\0" + row(y) for y in range(height))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(lines, 1)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def zero() -> bytes:
    """A handwritten 0, nearly: a ring of ink."""

    def ink(x: int, y: int) -> int:
        radius = ((x - 28) / 14) ** 2 + ((y - 28) / 20) ** 2
        return 255 if 0.6 < radius < 1.4 else 0

    return png(56, 56, lambda y: bytes(ink(x, y) for x in range(56)))


def it_serves(engine: Engine, target: str) -> str:
    """serves, hardened: not root, nothing writable but its cache, no privileges; reads a digit; ends on SIGTERM"""
    config = engine.inspect("image", image(target))["Config"]
    expect(config["User"] == "10001:10001", f"user {config['User']!r}")
    expect("org.opencontainers.image.title" in config["Labels"], config["Labels"])
    with engine.run(target) as container:
        seconds = container.ready()
        expect(container.exec("sh", "-c", "test $(id -u) -ne 0") == 0, "it runs as root")
        expect(container.exec("sh", "-c", "touch /etc/tessella/x /usr/local/x /x") != 0, "its files can be changed")
        expect(container.exec("sh", "-c", "touch /cache/x /tmp/x") == 0, "its cache cannot be written")
        torch = container.exec("python3", "-c", "import torch")
        expect((torch == 0) == (target != "onnx"), f"importing torch: {torch}")
        expect(container.healthy(), "its health check fails although it is ready")
        (result,) = container.classify(zero())
        expect(result["predictions"][0]["label"] == "0", result)
        code = stop_with_a_request_in_flight(container)
    return f"ready after {seconds:.1f} s, exit code {code}"


def stop_with_a_request_in_flight(container: Container) -> int:
    """SIGTERM arrives while large images are decoded: they are answered, then it ends by itself."""
    large = png(6000, 6000, lambda y: bytes(6000))
    answers: list[Any] = []
    asking = threading.Thread(target=lambda: answers.extend(container.classify(*[large] * 24)))
    asking.start()
    while asking.is_alive() and pending(container) == 0:
        time.sleep(0.02)
    container.engine("kill", "--signal", "TERM", container.name)
    expect(asking.is_alive(), "the request was answered before SIGTERM: nothing was in flight")
    asking.join(120)
    expect(len(answers) == 24, f"the request in flight was lost: {container.logs()}")
    expect(all("predictions" in answer for answer in answers), answers)
    code = container.wait()
    expect(code in (0, 143), f"exit code {code}")
    return code


def pending(container: Container) -> float:
    """Images that were accepted and are not answered."""
    with urllib.request.urlopen(f"{container.url}/metrics", timeout=10) as response:
        lines = response.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("nv_inference_pending_request_count"))


def without_a_server_it_is_unhealthy(engine: Engine, target: str) -> str:
    """is unhealthy where no server runs"""
    with engine.run(target, "--entrypoint", "sleep", command=["60"]) as container:
        expect(not container.healthy(), "its health check passes although nothing listens")
    return ""


def kernels_can_be_compiled(engine: Engine, target: str) -> str:
    """has what triton compiles its launcher with, where it has triton"""
    if target != "cuda":
        return "no triton"
    include = "import sysconfig; print(sysconfig.get_path('include'))"
    compile_one = f"echo '#include <Python.h>' | gcc -x c -fsyntax-only -I$(python3 -c \"{include}\") -"
    with engine.run(target, "--entrypoint", "sleep", command=["60"]) as container:
        expect(container.exec("sh", "-c", compile_one) == 0, "gcc cannot compile against Python.h")
        expect(container.exec("python3", "-c", "import triton") == 0, "triton cannot be imported")
    return ""


def a_cache_that_cannot_be_written_is_named(engine: Engine, target: str) -> str:
    """says so, and ends, where it needs its cache and cannot write it"""
    if target != "cpu":
        return "keeps nothing there without a GPU"
    command = ["serve", "--model", "digits-vit", "--backend", "onnxruntime"]
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        with engine.run(target, "--volume", f"{folder}:/cache:ro", command=command) as container:
            code = container.wait()
            expect(code == 1, f"exit code {code}")
            said = container.logs()
    expect("the cache /cache/tessella" in said and "Mount a writable volume" in said, said)
    return f"exit code {code}"


def bill_of_materials(engine: Engine, target: str) -> str:
    """can tell what is in it"""
    with tempfile.TemporaryDirectory() as folder:
        engine.build("sbom", "--build-arg", f"SBOM_OF={target}", "--output", f"type=local,dest={folder}")
        document = json.loads((Path(folder) / "python.cdx.json").read_text())
        system = (Path(folder) / "debian.tsv").read_text().splitlines()
    names = {component["name"] for component in document["components"]}
    expect({"tessella", "numpy", "fastapi"} <= names, sorted(names))
    return f"{len(names)} Python packages, {len(system)} of Debian"


CHECKS = (
    it_serves,
    without_a_server_it_is_unhealthy,
    kernels_can_be_compiled,
    a_cache_that_cannot_be_written_is_named,
    bill_of_materials,
)


def main() -> int:
    engine = Engine.find(os.environ.get("CONTAINER_ENGINE"))
    print(f"with {engine.name}", flush=True)
    failures = 0
    for target in os.environ.get("CONTAINER_TARGETS", "cpu onnx").split():
        failures += not passes(built, engine, target)
        for check in CHECKS if engine.name != "buildah" else ():
            failures += not passes(check, engine, target)
    print("all passed" if not failures else f"{failures} failed")
    return int(failures > 0)


def built(engine: Engine, target: str) -> str:
    """is built, and not too large"""
    engine.build(target, "--tag", image(target))
    if engine.name == "buildah":
        return "and not run: buildah only builds"
    size = engine.inspect("image", image(target))["Size"]
    expect(size <= LARGEST.get(target, size), f"{size / 1e6:.0f} MB")
    return f"{size / 1e6:.0f} MB"


def passes(check: Callable[[Engine, str], str], engine: Engine, target: str) -> bool:
    started = time.monotonic()
    try:
        found = check(engine, target)
    except (Failed, OSError) as error:
        print(f"FAIL {target} {check.__doc__}: {error}", flush=True)
        return False
    print(f"ok   {target} {check.__doc__} ({time.monotonic() - started:.1f} s{', ' * bool(found)}{found})", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
