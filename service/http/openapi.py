"""Completes the OpenAPI document that FastAPI makes.

This module adds schemas that FastAPI does not find: the schemas of errors, and of bodies that a route reads itself. It
removes the section `Args` of the routes' docstrings, which describes Python parameters.
"""

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from rqrec.service.contract.admin import ActivateRequest, WriteItemRequest
from rqrec.service.contract.browse import SearchRequest
from rqrec.service.contract.events import EventsRequest
from rqrec.service.contract.recommend import RecommendRequest
from rqrec.service.contract.replies import Problem

ARGS = "\n\nArgs:\n"
TEMPLATE = "#/components/schemas/{model}"
ADDED = (Problem, RecommendRequest, SearchRequest, EventsRequest, WriteItemRequest, ActivateRequest)


def reference(model: type[BaseModel]) -> dict[str, str]:
    """Returns a JSON reference (`$ref`) to the schema of a pydantic model in the OpenAPI document.

    The model must be one of `ADDED`, the models whose schemas `describe` adds to the document.
    """
    assert model in ADDED
    return {"$ref": TEMPLATE.format(model=model.__name__)}


def json_body(model: type[BaseModel]) -> dict[str, Any]:
    """Returns FastAPI's argument `openapi_extra` for a route that parses its JSON body itself.

    It tells the OpenAPI document that the body has the schema of a pydantic model, which must be one of `ADDED`.
    """
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": reference(model)}}}}


def describe(app: FastAPI) -> None:
    """Replaces `app.openapi`: adds the missing schemas to the document, and removes `Args` from its descriptions."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        _, schemas = models_json_schema([(model, "validation") for model in ADDED], ref_template=TEMPLATE)
        document["components"]["schemas"] |= schemas["$defs"]
        for operation in [one for methods in document["paths"].values() for one in methods.values()]:
            operation["description"] = operation["description"].partition(ARGS)[0]
        return document

    app.openapi = openapi  # type: ignore[method-assign]
