"""The bodies that explain why an item is in a list of recommendations."""

from pydantic import BaseModel, Field

from rqrec.service.contract.fields import Code
from rqrec.service.contract.tree import Meaning


class Contribution(BaseModel):
    """What one item of the history adds to the score of a recommended item."""

    item_id: str
    contribution: float = Field(
        description="The item's score with the whole history, minus its score with this history item left out; "
        "negative if the history item counts against the item. Without the only item of a history, the score is that "
        "of the popular fallback."
    )
    shared: dict[str, list[str | float | bool]] = Field(
        description="The values that both items have, by attribute.", examples=[{"genres": ["Comedy"]}]
    )


class Level(BaseModel):
    """One code of a recommended item's semantic ID."""

    code: Code
    log_prob: float | None = Field(
        description="Natural logarithm of the probability of this code, given the history and the codes before it. "
        "null for an item whose score is not made of these, such as a new item, and in the popular fallback."
    )
    meaning: Meaning = Field(description="What the items below this code and the codes before it have in common.")


class Explanation(BaseModel):
    """Why an item is in the list."""

    history: list[Contribution] = Field(
        description="The history items that the search read, the largest contribution first; an item that occurs "
        "several times has an entry for each. Empty in the popular fallback."
    )
    levels: list[Level]
