"""The bodies of the routes that look into the catalogue, shared by the service and the client."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from rqrec.service.contract.fields import MAX_K, Body, Code
from rqrec.service.contract.filter import Filter

MAX_QUERY = 256  # characters
MAX_FILTER_TEXT = 1024  # characters of a filter in the query of a URL, which are up to 12 bytes each there
MAX_VALUES = 50

By = Literal["vector", "content", "prefix"]
K = Annotated[int, Field(ge=1, le=MAX_K, description="How many items to return.")]


class FoundItem(BaseModel):
    """An item that was found."""

    item_id: str
    score: float
    semantic_id: list[Code]
    payload: dict[str, Any] = Field(description="The item's attributes.")


class SimilarItem(FoundItem):
    """An item that is like another."""

    score: float = Field(
        description="Cosine of the two items: of their contents for `content`, else of their learnt vectors. With "
        "`prefix`, the common prefix of the semantic IDs counts before it."
    )


class SimilarReply(BaseModel):
    """The items that are most like one item, best first."""

    item_id: str
    by: By
    model_version: str
    items: list[SimilarItem]


class SearchRequest(Body):
    """Words to search for."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"query": "space opera", "k": 5}]})

    query: Annotated[str, Field(min_length=1, max_length=MAX_QUERY)] = Field(
        description="Words, the last of which may be unfinished. Case and accents do not count."
    )
    k: K = 10
    filter: Filter = Field(default_factory=dict, description="Conditions by attribute; an item must meet all.")


class SearchItem(FoundItem):
    """An item that was found by words."""

    score: float = Field(
        description="For `title`: the share of the words that the title has. For `meaning`: the cosine of the words "
        "and the item's content. Comparable within one kind of match only."
    )
    match: Literal["title", "meaning"] = Field(
        description="title: words of the query are in the title. meaning: the text encoder finds the item alike."
    )


class SearchReply(BaseModel):
    """The items that were found, best first.

    Titles with all the words come first. Titles with at least half of them follow until half of the list is full. Items
    alike in meaning fill the rest, and further titles what is then left.
    """

    model_version: str
    took_ms: float = Field(description="Time spent on this request, in milliseconds.")
    items: list[SearchItem]


class ValueCount(BaseModel):
    """One value of an attribute, and how many items have it."""

    value: bool | int | float | str
    count: int


class AttributeReply(BaseModel):
    """One attribute of the catalogue's items."""

    name: str
    kind: Literal["label", "number", "text"] = Field(
        description="label: few values that many items share. number: a number. text: any other."
    )
    values: list[ValueCount] = Field(description=f"The commonest values of a label, at most {MAX_VALUES}, with counts.")
    min: float | None = Field(description="The smallest number; null for other kinds, and without numbers.")
    max: float | None = Field(description="The largest number; null for other kinds, and without numbers.")
    filterable: bool = Field(description="Whether a filter can name the attribute; false for objects and nested lists.")


class AttributesReply(BaseModel):
    """What filters can be made of."""

    model_version: str
    attributes: list[AttributeReply]


class EvaluationReply(BaseModel):
    """What the evaluation at training found out about a model."""

    model_version: str
    dataset: str
    created_at: str = Field(description="When the bundle was published, ISO 8601, UTC.")
    learnt_until: str | None = Field(
        description="Time of the latest interaction that the model has learnt, ISO 8601, UTC; null if the data has no "
        "times."
    )
    refit: bool = Field(description="Whether the model was trained further after the evaluation, on the test data too.")
    metrics: dict[str, dict[str, float]] = Field(
        description="Metrics by model and metric, as in GET /models: of `rqrec` and of the baselines beside it, each "
        "over so many `users`; and figures of the data and of the semantic IDs."
    )
