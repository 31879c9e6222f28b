"""Schemas in the OpenAPI document that FastAPI does not find by itself: of errors, and of bodies that a route reads."""

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from rqrec.service.contract import ActivateRequest, Problem, RecommendRequest, WriteItemRequest

TEMPLATE = "#/components/schemas/{model}"
ADDED = (Problem, RecommendRequest, WriteItemRequest, ActivateRequest)


def reference(model: type[BaseModel]) -> dict[str, str]:
    """A reference to a model's schema, which must be among `ADDED`."""
    assert model in ADDED
    return {"$ref": TEMPLATE.format(model=model.__name__)}


def json_body(model: type[BaseModel]) -> dict[str, Any]:
    """The `openapi_extra` of a route that reads its body as such a model."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": reference(model)}}}}


def describe(app: FastAPI) -> None:
    """Adds the schemas to the app's OpenAPI document."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        _, schemas = models_json_schema([(model, "validation") for model in ADDED], ref_template=TEMPLATE)
        document["components"]["schemas"] |= schemas["$defs"]
        return document

    app.openapi = openapi  # type: ignore[method-assign]
