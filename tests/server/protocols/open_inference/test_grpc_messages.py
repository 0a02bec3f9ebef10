"""Our messages are those that Triton's client was generated from: every field has its name, number, type and label."""

import pytest
from tritonclient.grpc import model_config_pb2, service_pb2

from tessella.server.protocols.open_inference.grpc_messages import MESSAGES, SERVICE


@pytest.mark.parametrize("name", MESSAGES)
def test_fields_are_those_of_the_protocol(name: str) -> None:
    ours = MESSAGES[name].DESCRIPTOR
    theirs = next(module for module in (service_pb2, model_config_pb2) if hasattr(module, name.split(".")[0]))
    found = theirs
    for part in name.split("."):
        found = getattr(found, part)
    assert ours.full_name == found.DESCRIPTOR.full_name
    known = found.DESCRIPTOR.fields_by_name
    for field in ours.fields:
        other = known[field.name]
        assert (field.number, field.type, field.is_repeated) == (other.number, other.type, other.is_repeated), (
            field.name
        )
        if field.message_type:
            assert field.message_type.full_name == other.message_type.full_name


def test_enumerated_types_have_their_numbers() -> None:
    ours = MESSAGES["ModelInput"].DESCRIPTOR.fields_by_name["data_type"].enum_type
    theirs = model_config_pb2.DataType.DESCRIPTOR
    assert {v.name: v.number for v in ours.values}.items() <= {v.name: v.number for v in theirs.values}.items()


def test_the_service_is_the_protocols() -> None:
    assert service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name == SERVICE
