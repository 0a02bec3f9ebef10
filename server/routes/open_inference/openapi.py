"""OpenAPI descriptions of the bodies that are parsed without pydantic."""

from typing import Any

_PARAMETERS = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}
_INPUT = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": {"enum": ["image", "pixels", "pixel_values"]},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "datatype": {"enum": ["BYTES", "UINT8", "FP32", "FP16"]},
        "parameters": _PARAMETERS,
        "data": {"type": "array", "items": {}, "description": "flat or nested list; images as base64"},
    },
}
_OUTPUT = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": {"enum": ["logits", "probabilities"]}, "parameters": _PARAMETERS},
}
_REQUEST = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string"},
        "parameters": _PARAMETERS,
        "inputs": {"type": "array", "items": _INPUT, "minItems": 1, "maxItems": 1},
        "outputs": {"type": "array", "items": _OUTPUT},
    },
}
_RESPONSE = {
    "type": "object",
    "required": ["model_name", "model_version", "outputs"],
    "properties": {
        "model_name": {"type": "string"},
        "model_version": {"type": "string"},
        "id": {"type": "string"},
        "outputs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "datatype", "shape"],
                "properties": {
                    "name": {"type": "string"},
                    "datatype": {"type": "string"},
                    "shape": {"type": "array", "items": {"type": "integer"}},
                    "parameters": _PARAMETERS,
                    "data": {"type": "array", "items": {}},
                },
            },
        },
    },
}
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_HEADER_LENGTH = "Inference-Header-Content-Length"

_GREY_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mNoAAAAggCB2kUIOwAAAABJRU5ErkJggg=="
_EXAMPLE = {
    "inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [_GREY_PIXEL]}],
    "outputs": [{"name": "probabilities", "parameters": {"classification": 3}}],
}

INFER_BODY: dict[str, Any] = {
    "parameters": [
        {
            "in": "header",
            "name": _HEADER_LENGTH,
            "required": False,
            "schema": {"type": "integer", "minimum": 0},
            "description": "bytes of JSON before the binary tensors; 0: the body is one encoded image",
        }
    ],
    "requestBody": {
        "required": True,
        "description": "JSON; JSON followed by binary tensors; or, with a header length of 0, one encoded image.",
        "content": {
            "application/json": {"schema": _REQUEST, "example": _EXAMPLE},
            "application/octet-stream": _BINARY,
        },
    },
}
INFER_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Outputs as JSON, or as JSON followed by binary tensors",
        "content": {"application/json": {"schema": _RESPONSE}, "application/octet-stream": _BINARY},
    }
}
REPOSITORY_BODY: dict[str, Any] = {
    "requestBody": {"required": False, "content": {"application/json": {"schema": {"type": "object"}}}}
}
