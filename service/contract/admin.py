"""The bodies of requests and replies of the admin routes, shared by the service and the client."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rqrec.service.contract.fields import Body, Finite
from rqrec.service.contract.replies import SemanticIdReply

MAX_ATTRIBUTES = 1000
MAX_VECTOR = 100_000


class WriteItemRequest(Body):
    """The whole content of an item; attributes that are left out are removed."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"attributes": {"title": "Heat", "genres": ["Crime"], "year": 1995}}]},
    )

    attributes: dict[str, Any] = Field(
        default_factory=dict,
        max_length=MAX_ATTRIBUTES,
        description="Attributes by name: those in the catalogue's payload, and the vectors of the model's training.",
    )
    text_vector: Annotated[list[Finite], Field(max_length=MAX_VECTOR, fail_fast=True)] | None = Field(
        None,
        description="Embedding of the item's text; by default the service computes it with the bundle's text encoder.",
    )


class WrittenItem(SemanticIdReply):
    """An item that was added or replaced."""

    catalogue_version: int = Field(description="Version of the catalogue, which contains this content.")


class ActivateRequest(Body):
    """The role that a model takes."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"part": "canary", "percent": 5}]})

    part: Literal["active", "canary", "shadow"] = Field(
        "active",
        description="active: the model answers all requests, and the candidate's rollout ends. canary: the model "
        "answers a share of the requests. shadow: the model gets a copy of a share of the requests, and its answers "
        "are measured but not returned.",
    )
    percent: Finite | None = Field(
        None,
        gt=0,
        le=100,
        description="Percentage of routing keys that go to a canary or shadow, by a stable hash. A canary needs it; a "
        "shadow without it gets a copy of all requests.",
    )

    @model_validator(mode="after")
    def _gives_a_share_only_to_a_candidate(self) -> Self:
        if self.part == "active" and self.share < 100:
            raise ValueError(f"expected the part canary or shadow with percent {self.share:g}, got the part active")
        if self.part == "canary" and self.percent is None:
            raise ValueError(
                'expected a percent with the part canary, such as {"part": "canary", "percent": 5}, got none'
            )
        return self

    @property
    def share(self) -> float:
        """The percentage that is meant: `percent`, or else 100."""
        return 100.0 if self.percent is None else self.percent


class IntervalReply(BaseModel):
    """An interval that is ever wrong, at any time of a trial, with a probability of at most 5 %."""

    lower: float
    upper: float


class RateReply(IntervalReply):
    """How many of some impressions had an outcome, with the interval of the rate."""

    count: int = Field(description="Number of impressions with the outcome.")
    rate: float | None = Field(description="The share of these impressions; null without impressions.")


class RatesReply(BaseModel):
    """What came of some impressions. An impression counts once for each outcome."""

    impressions: int = Field(description="Number of lists that were shown to a user or on a surface.")
    clicks: RateReply
    conversions: RateReply


class OutcomesReply(RatesReply):
    """What came of the impressions of a model on all replicas, since the roles of the models changed."""

    by_surface: dict[str, RatesReply] = Field(
        description="The same by surface: `none` for lists without one, `other` for those beyond 32."
    )


class TrialReply(BaseModel):
    """The comparison of a canary with the active model."""

    started_at: datetime = Field(description="When the canary, or its present share, began.")
    promotion: Literal["advise", "auto"] = Field(description="auto: the service carries the decision out by itself.")
    outcome: Literal["clicks", "conversions"] = Field(description="The outcome that decides.")
    differences: dict[Literal["clicks", "conversions"], IntervalReply] = Field(
        description="The canary's rate minus the active model's. Each interval is ever wrong with at most 5 %."
    )
    design_effect: float = Field(
        description="How much more the rate varies than with independent impressions, because users return; at least 1."
    )
    action: Literal["promote", "roll_back", "wait"]
    reasons: list[str]


class ModelReply(BaseModel):
    """A bundle in the folder of bundles."""

    version: str
    part: Literal["active", "canary", "shadow"] | None = Field(
        description="Role of the model; null if it is not loaded."
    )
    percent: float | None = Field(description="Percentage of routing keys that go to it, if it is a canary or shadow.")
    created_at: str | None
    num_items: int | None
    num_left_out: int | None = Field(
        None,
        description="Number of written items of other models that do not fit this model and were not carried over, as "
        "this replica has found; null if the model is not loaded.",
    )
    metrics: dict[str, dict[str, float]] = Field(
        description="Metrics of the evaluation at training, by model and metric."
    )
    fault: str | None = Field(description="Why the bundle cannot be read; null if it can.")
    outcomes: OutcomesReply | None = Field(
        None,
        description="What came of the lists of the active model or the canary; null for other models, with "
        "RQREC_PROMOTION=off, or if the event store does not answer.",
    )


class ModelList(BaseModel):
    """The bundles in the folder of bundles."""

    models: list[ModelReply]
    trial: TrialReply | None = Field(
        None, description="The comparison of the canary with the active model; null without a canary or its outcomes."
    )
