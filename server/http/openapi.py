"""What /docs says beyond what FastAPI finds out: keys, what every route may answer, and an example of each answer."""

import json
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from .auth import is_open
from .error_responses import ERROR_EXAMPLES, ERRORS, OPENAI_PATHS, failure_document

Document = dict[str, Any]
_FASTAPIS_OWN = ("HTTPValidationError", "ValidationError")
_ANSWERS: Document = json.loads(Path(__file__).with_name("answers.json").read_text())
"""What each route has really answered once."""
_FAILURES = ("Failure", "OpenAIFailure")
_KEYS = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}
_JSON = "application/json"
EXAMPLE_IMAGE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAIklEQVR42l3Is"
    "Q0AAAjDMMP/P5eFAeElUlglWxDaFe/EPQOaxgQFxpYJmQAAAABJRU5ErkJggg=="
)
"""A PNG of 8×8 pixels that shows a seven."""


def json_body(form: type[BaseModel], **examples: Document) -> Document:
    """What `openapi_extra` says of a body that the handler reads itself."""
    named = {name: {"value": value} for name, value in examples.items()}
    content = {_JSON: {"schema": inlined(form.model_json_schema()), "examples": named}}
    return {"requestBody": {"required": True, "content": content}}


def inlined(schema: Document) -> Document:
    """A schema without references, which mean another place once it stands in a larger document."""
    definitions = schema.pop("$defs", {})

    def walk(node: Any) -> Any:
        if isinstance(node, list):
            return [walk(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return walk(definitions[node["$ref"].rpartition("/")[2]])
        return {key: walk(value) for key, value in node.items()}

    walked: Document = walk(schema)
    return walked


def complete(app: FastAPI) -> None:
    """Lets `app.openapi` tell the whole truth."""
    make = app.openapi

    def openapi() -> Document:
        if app.openapi_schema is None:
            _complete(make())
        return make()

    app.openapi = openapi  # type: ignore[method-assign]


def _complete(document: Document) -> None:
    """In place, as FastAPI keeps the document."""
    components = document.setdefault("components", {})
    for name in _FASTAPIS_OWN:
        components.get("schemas", {}).pop(name, None)
    components["securitySchemes"] = _KEYS
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            operation["responses"] = dict(sorted(_responses(path, method, operation).items()))
            if not is_open(path, method.upper()):
                operation["security"] = [{}, *({name: []} for name in _KEYS)]


def _responses(path: str, method: str, operation: Document) -> Document:
    responses = {**operation["responses"]}
    if _failure_in(responses.get("422", {})) in _FASTAPIS_OWN:
        del responses["422"]  # such errors are a 400 here, in the shape of every other
    reads = "requestBody" in operation
    queried = any(parameter["in"] == "query" for parameter in operation.get("parameters", ()))
    closed = not is_open(path, method.upper())
    for status, possible in {400: reads or queried, 401: closed, 413: reads, 415: reads, 429: closed}.items():
        if possible:
            responses.setdefault(str(status), _error(status, path))
    answer = _ANSWERS.get(f"{method.upper()} {path.replace('/versions/{version}', '')}")
    for status, response in responses.items():
        if status.startswith("2") and _JSON in response.get("content", {}) and answer is not None:
            response["content"][_JSON].setdefault("example", answer)
        name = _failure_in(response)
        if name in _FAILURES:
            content = {"schema": {"$ref": f"#/components/schemas/{name}"}, "example": _example(int(status), path)}
            responses[status] = {**response, "content": {_JSON: content}}
    return responses


def _failure_in(response: Document) -> str:
    """The name of the error's schema; FastAPI puts it under the content type that the route answers with."""
    schemas = [content.get("schema", {}) for content in response.get("content", {}).values()]
    names = [str(schema.get("$ref", "")).rpartition("/")[2] for schema in schemas]
    return next((name for name in names if name in (*_FAILURES, *_FASTAPIS_OWN)), "")


def _error(status: int, path: str) -> Document:
    """A response that FastAPI does not know of."""
    schema = {"$ref": f"#/components/schemas/{'OpenAIFailure' if path in OPENAI_PATHS else 'Failure'}"}
    return {"description": ERRORS[status]["description"], "content": {_JSON: {"schema": schema}}}


def _example(status: int, path: str) -> Document:
    error_type, message = ERROR_EXAMPLES[status]
    return failure_document(message, error_type, path)
