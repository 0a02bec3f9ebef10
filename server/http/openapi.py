"""OpenAPI schema of the service: FastAPI's own, completed by API keys, error responses and examples."""

import json
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from .auth import is_public_route
from .error_responses import ERROR_EXAMPLES, ERROR_RESPONSES, OPENAI_PATHS, error_body

JsonObject = dict[str, Any]
_FASTAPI_SCHEMAS = ("HTTPValidationError", "ValidationError")
_EXAMPLES: JsonObject = json.loads(Path(__file__).with_name("example_responses.json").read_text())
"""Recorded response of each route."""
_ERROR_SCHEMAS = ("ErrorResponse", "OpenAIErrorResponse")
_SECURITY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}
_JSON = "application/json"
EXAMPLE_IMAGE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAIklEQVR42l3Is"
    "Q0AAAjDMMP/P5eFAeElUlglWxDaFe/EPQOaxgQFxpYJmQAAAABJRU5ErkJggg=="
)
"""PNG image of 8×8 pixels: a seven."""


def json_request_body(model: type[BaseModel], **examples: JsonObject) -> JsonObject:
    """OpenAPI description (`openapi_extra`) of a JSON body that the handler parses itself."""
    named = {name: {"value": value} for name, value in examples.items()}
    content = {_JSON: {"schema": inline_refs(model.model_json_schema()), "examples": named}}
    return {"requestBody": {"required": True, "content": content}}


def inline_refs(schema: JsonObject) -> JsonObject:
    """Schema with its `$ref`s replaced by their definitions, so that it can be embedded in a larger schema."""
    definitions = schema.pop("$defs", {})

    def walk(node: Any) -> Any:
        if isinstance(node, list):
            return [walk(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return walk(definitions[node["$ref"].rpartition("/")[2]])
        return {key: walk(value) for key, value in node.items()}

    result: JsonObject = walk(schema)
    return result


def extend_openapi(app: FastAPI) -> None:
    """Extend `app.openapi` by what FastAPI does not know about the routes."""
    fastapi_openapi = app.openapi

    def openapi() -> JsonObject:
        if app.openapi_schema is None:
            _extend(fastapi_openapi())
        return fastapi_openapi()

    app.openapi = openapi  # type: ignore[method-assign]


def _extend(schema: JsonObject) -> None:
    """Extend the schema in place: FastAPI caches the object."""
    components = schema.setdefault("components", {})
    for name in _FASTAPI_SCHEMAS:
        components.get("schemas", {}).pop(name, None)
    components["securitySchemes"] = _SECURITY_SCHEMES
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            operation["responses"] = dict(sorted(_responses(path, method, operation).items()))
            if not is_public_route(path, method.upper()):
                operation["security"] = [{}, *({name: []} for name in _SECURITY_SCHEMES)]


def _responses(path: str, method: str, operation: JsonObject) -> JsonObject:
    responses = {**operation["responses"]}
    if _error_schema(responses.get("422", {})) in _FASTAPI_SCHEMAS:
        del responses["422"]  # `install_error_handlers` makes them a 400
    has_body = "requestBody" in operation
    has_query = any(parameter["in"] == "query" for parameter in operation.get("parameters", ()))
    protected = not is_public_route(path, method.upper())
    conditions = {400: has_body or has_query, 401: protected, 413: has_body, 415: has_body, 429: protected}
    for status, possible in conditions.items():
        if possible:
            responses.setdefault(str(status), _error(status, path))
    example = _EXAMPLES.get(f"{method.upper()} {path.replace('/versions/{version}', '')}")
    for status, response in responses.items():
        if status.startswith("2") and _JSON in response.get("content", {}) and example is not None:
            response["content"][_JSON].setdefault("example", example)
        name = _error_schema(response)
        if name in _ERROR_SCHEMAS:
            content = {"schema": {"$ref": f"#/components/schemas/{name}"}, "example": _example(int(status), path)}
            responses[status] = {**response, "content": {_JSON: content}}
    return responses


def _error_schema(response: JsonObject) -> str:
    """Schema name of an error response; FastAPI files it under the content type of the route's own response."""
    schemas = [content.get("schema", {}) for content in response.get("content", {}).values()]
    names = [str(schema.get("$ref", "")).rpartition("/")[2] for schema in schemas]
    return next((name for name in names if name in (*_ERROR_SCHEMAS, *_FASTAPI_SCHEMAS)), "")


def _error(status: int, path: str) -> JsonObject:
    """Error response that FastAPI does not know about."""
    schema = {"$ref": f"#/components/schemas/{'OpenAIErrorResponse' if path in OPENAI_PATHS else 'ErrorResponse'}"}
    return {"description": ERROR_RESPONSES[status]["description"], "content": {_JSON: {"schema": schema}}}


def _example(status: int, path: str) -> JsonObject:
    error_type, message = ERROR_EXAMPLES[status]
    return error_body(message, error_type, path)
