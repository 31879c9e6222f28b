"""The body of the reply with the map of the items."""

from pydantic import BaseModel, Field

from rqrec.service.contract.fields import Code

MAX_POINTS = 20_000
MAX_POINTS_BY_ID = 100


class ItemMapReply(BaseModel):
    """Items on a map, where items with similar vectors are near. Each list has one entry for each item."""

    model_version: str
    num_items: int = Field(ge=0, description="Number of items of the catalogue, of which the lists may be a sample.")
    item_ids: list[str]
    xs: list[float]
    ys: list[float]
    codes: list[Code] = Field(description="The first code of each item's semantic ID.")
    values: list[str | float | bool | None] = Field(
        description="One value of the asked attribute for each item, null without one; empty if no attribute was asked."
    )
