"""What a request can ask of its list beside the best items: caps, boosts, pins and diversity."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from rqrec.service.contract.fields import MAX_K, Body, ItemId, bounded
from rqrec.service.contract.filter import Filter

MAX_CAPS = 5
MAX_BOOSTS = 5
MAX_PINS = 20
LARGEST_FACTOR = 1e12  # adds 28 to a score; the scores of a list span tens


class Boost(Body):
    """A factor on the items that meet a condition."""

    filter: Annotated[Filter, Field(min_length=1)] = Field(
        description="Conditions by attribute, as in the filter of a request. The boost acts on items that meet all."
    )
    factor: float = Field(
        ge=1 / LARGEST_FACTOR,
        le=LARGEST_FACTOR,
        allow_inf_nan=False,
        description="The natural logarithm of the factor is added to the score. Below 1 it lowers the items.",
    )


class Pin(Body):
    """An item that stands at a fixed rank."""

    item_id: ItemId
    rank: int = Field(ge=1, le=MAX_K, description="Rank of the item in the list, at most k; 1 is the first.")


def _differ(pins: list[Pin]) -> list[Pin]:
    for field in ("item_id", "rank"):
        seen = set[object]()
        for pin in pins:
            value = getattr(pin, field)
            if value in seen:
                raise ValueError(f"expected each {field} once, got {value!r:.60} twice")
            seen.add(value)
    return pins


Caps = Annotated[
    dict[str, Annotated[int, Field(ge=1, le=MAX_K)]],
    Field(max_length=MAX_CAPS),
    BeforeValidator(lambda fields: bounded(fields, MAX_CAPS, "caps")),
]
Boosts = Annotated[list[Boost], Field(max_length=MAX_BOOSTS, fail_fast=True)]
Pins = Annotated[list[Pin], Field(max_length=MAX_PINS, fail_fast=True), AfterValidator(_differ)]

CAPS_TEXT = (
    "Largest number of items in the list with the same value, by attribute: strings, whole numbers, true or false, or "
    "lists of these. Each value of a list counts, of one item the first 64. Items without the attribute are not "
    "capped."
)
BOOSTS_TEXT = (
    "Factors on items that meet a condition: the natural logarithm of a factor is added to the score. Scores also have "
    "the likeness to the history, so those of a list span tens, and a factor of 1.5 decides near ties only. Several "
    "boosts of an item multiply."
)
PINS_TEXT = (
    "Items at fixed ranks, whether or not the filter, the exclusions and the caps allow them. They count towards the "
    "caps. Pins that are not in the catalogue are skipped, and listed in the reply. If the list is too short for a "
    "rank, the item moves up."
)
DIVERSITY_TEXT = (
    "How much it counts that an item is unlike the others in the list, by the vectors of the items. 0: only the score "
    "counts. 1: only the difference counts. The items are chosen among the 4k best by maximal marginal relevance, and "
    "listed in that order."
)


def check_ranks(pins: Sequence[Pin], k: int) -> None:
    """Checks that the list has the ranks of all pins.

    Args:
        pins: The pins of a request.
        k: The number of items that the request asks for.

    Raises:
        ValueError: If a rank is larger than k.
    """
    for pin in pins:
        if pin.rank > k:
            raise ValueError(f"pins: expected ranks of at most k, {k}, got {pin.rank}: ask for more items")


class ListControlReply(BaseModel):
    """How the list control of a request has changed the list."""

    unknown_pins: list[str] = Field(description="Pinned ids that are not in the catalogue; they were skipped.")
    open_places: int = Field(
        ge=0, description="k minus the number of items in the list: no other eligible item fits under the caps."
    )
    full_values: dict[str, list[bool | int | str]] = Field(
        description="If places are open: for each capped attribute, the values of which the list may have no more "
        "items. A larger cap lets in more items. Empty if no value is full, so too few items are eligible."
    )
