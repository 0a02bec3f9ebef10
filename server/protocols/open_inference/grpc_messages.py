"""The messages of `inference.GRPCInferenceService` as protobuf classes, made here from their fields and numbers.

Names, numbers and types are the interface: github.com/kserve/open-inference-protocol (open_inference_grpc.proto) and,
for configuration, statistics and the repository, Triton Inference Server's service of the same name. Fields that are
neither read nor written here are left away; protobuf passes over them. The classes live in a pool of their own, beside
any others of the same names in this process.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"

_DURATIONS = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss")
_MESSAGES: dict[str, tuple[str, ...]] = {
    "ServerLiveRequest": (),
    "ServerLiveResponse": ("bool live = 1",),
    "ServerReadyRequest": (),
    "ServerReadyResponse": ("bool ready = 1",),
    "ModelReadyRequest": ("string name = 1", "string version = 2"),
    "ModelReadyResponse": ("bool ready = 1",),
    "ServerMetadataRequest": (),
    "ServerMetadataResponse": ("string name = 1", "string version = 2", "repeated string extensions = 3"),
    "ModelMetadataRequest": ("string name = 1", "string version = 2"),
    "ModelMetadataResponse": (
        "string name = 1",
        "repeated string versions = 2",
        "string platform = 3",
        "repeated ModelMetadataResponse.TensorMetadata inputs = 4",
        "repeated ModelMetadataResponse.TensorMetadata outputs = 5",
    ),
    "ModelMetadataResponse.TensorMetadata": ("string name = 1", "string datatype = 2", "repeated int64 shape = 3"),
    "InferParameter": (
        "oneof bool bool_param = 1",
        "oneof int64 int64_param = 2",
        "oneof string string_param = 3",
        "oneof double double_param = 4",
        "oneof uint64 uint64_param = 5",
    ),
    "InferTensorContents": (
        "repeated bool bool_contents = 1",
        "repeated int32 int_contents = 2",
        "repeated int64 int64_contents = 3",
        "repeated uint32 uint_contents = 4",
        "repeated uint64 uint64_contents = 5",
        "repeated float fp32_contents = 6",
        "repeated double fp64_contents = 7",
        "repeated bytes bytes_contents = 8",
    ),
    "ModelInferRequest": (
        "string model_name = 1",
        "string model_version = 2",
        "string id = 3",
        "map InferParameter parameters = 4",
        "repeated ModelInferRequest.InferInputTensor inputs = 5",
        "repeated ModelInferRequest.InferRequestedOutputTensor outputs = 6",
        "repeated bytes raw_input_contents = 7",
    ),
    "ModelInferRequest.InferInputTensor": (
        "string name = 1",
        "string datatype = 2",
        "repeated int64 shape = 3",
        "map InferParameter parameters = 4",
        "InferTensorContents contents = 5",
    ),
    "ModelInferRequest.InferRequestedOutputTensor": ("string name = 1", "map InferParameter parameters = 2"),
    "ModelInferResponse": (
        "string model_name = 1",
        "string model_version = 2",
        "string id = 3",
        "map InferParameter parameters = 4",
        "repeated ModelInferResponse.InferOutputTensor outputs = 5",
        "repeated bytes raw_output_contents = 6",
    ),
    "ModelInferResponse.InferOutputTensor": (
        "string name = 1",
        "string datatype = 2",
        "repeated int64 shape = 3",
        "map InferParameter parameters = 4",
        "InferTensorContents contents = 5",
    ),
    "ModelConfigRequest": ("string name = 1", "string version = 2"),
    "ModelConfigResponse": ("ModelConfig config = 1",),
    "ModelConfig": (
        "string name = 1",
        "string platform = 2",
        "int32 max_batch_size = 4",
        "repeated ModelInput input = 5",
        "repeated ModelOutput output = 6",
        "ModelDynamicBatching dynamic_batching = 11",
        "string backend = 17",
    ),
    "ModelInput": (
        "string name = 1",
        "DataType data_type = 2",
        "repeated int64 dims = 4",
        "bool optional = 8",
    ),
    "ModelOutput": ("string name = 1", "DataType data_type = 2", "repeated int64 dims = 3"),
    "ModelDynamicBatching": (
        "uint64 max_queue_delay_microseconds = 2",
        "uint64 priority_levels = 4",
        "uint64 default_priority_level = 5",
    ),
    "ModelStatisticsRequest": ("string name = 1", "string version = 2"),
    "ModelStatisticsResponse": ("repeated ModelStatistics model_stats = 1",),
    "ModelStatistics": (
        "string name = 1",
        "string version = 2",
        "uint64 last_inference = 3",
        "uint64 inference_count = 4",
        "uint64 execution_count = 5",
        "InferStatistics inference_stats = 6",
        "repeated InferBatchStatistics batch_stats = 7",
    ),
    "StatisticDuration": ("uint64 count = 1", "uint64 ns = 2"),
    "InferStatistics": tuple(f"StatisticDuration {name} = {number}" for number, name in enumerate(_DURATIONS, 1)),
    "InferBatchStatistics": (
        "uint64 batch_size = 1",
        "StatisticDuration compute_input = 2",
        "StatisticDuration compute_infer = 3",
        "StatisticDuration compute_output = 4",
    ),
    "ModelRepositoryParameter": (
        "oneof bool bool_param = 1",
        "oneof int64 int64_param = 2",
        "oneof string string_param = 3",
        "oneof bytes bytes_param = 4",
    ),
    "RepositoryIndexRequest": ("string repository_name = 1", "bool ready = 2"),
    "RepositoryIndexResponse": ("repeated RepositoryIndexResponse.ModelIndex models = 1",),
    "RepositoryIndexResponse.ModelIndex": (
        "string name = 1",
        "string version = 2",
        "string state = 3",
        "string reason = 4",
    ),
    "RepositoryModelLoadRequest": (
        "string repository_name = 1",
        "string model_name = 2",
        "map ModelRepositoryParameter parameters = 3",
    ),
    "RepositoryModelLoadResponse": (),
    "RepositoryModelUnloadRequest": (
        "string repository_name = 1",
        "string model_name = 2",
        "map ModelRepositoryParameter parameters = 3",
    ),
    "RepositoryModelUnloadResponse": (),
}
_DATA_TYPES = {"TYPE_INVALID": 0, "TYPE_UINT8": 2, "TYPE_FP16": 10, "TYPE_FP32": 11, "TYPE_STRING": 13}


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="tessella_open_inference.proto", package=PACKAGE, syntax="proto3")
    data_type = file.enum_type.add(name="DataType")
    for name, number in _DATA_TYPES.items():
        data_type.value.add(name=name, number=number)
    made: dict[str, Any] = {}
    for name, fields in _MESSAGES.items():
        outer, _, own = name.rpartition(".")
        message = made[name] = (made[outer].nested_type if outer else file.message_type).add(name=own)
        for field in fields:
            _add_field(message, name, field)
    return file


def _add_field(message: Any, scope: str, declaration: str) -> None:
    """`repeated int64 shape = 3`; a `map` has strings as keys; all `oneof` fields of a message are one choice."""
    *words, _, number = declaration.split()
    label, kind, name = words if len(words) == 3 else ("", *words)
    field = message.field.add(name=name, number=int(number), label=3 if label in ("repeated", "map") else 1)
    if label == "oneof":
        if not message.oneof_decl:
            message.oneof_decl.add(name="parameter_choice")
        field.oneof_index = 0
    if label == "map":
        entry = message.nested_type.add(name="ParametersEntry")
        entry.options.map_entry = True
        _add_field(entry, scope, "string key = 1")
        _add_field(entry, scope, f"{kind} value = 2")
        kind = f"{scope}.ParametersEntry"
    if kind == "DataType" or kind in _MESSAGES or label == "map":
        field.type_name = f".{PACKAGE}.{kind}"
    field.type = _type_of(kind, label)


def _type_of(kind: str, label: str) -> int:
    types = descriptor_pb2.FieldDescriptorProto.Type
    if kind == "DataType":
        return types.Value("TYPE_ENUM")
    is_message = kind in _MESSAGES or label == "map"
    return types.Value("TYPE_MESSAGE" if is_message else f"TYPE_{kind.upper()}")


def _classes() -> dict[str, Any]:
    pool = descriptor_pool.DescriptorPool()
    pool.Add(_file())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in _MESSAGES
    }


MESSAGES = _classes()
"""Message name -> class."""
