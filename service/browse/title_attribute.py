"""Chooses the attribute whose values are the titles of the items."""

from collections.abc import Sequence

import polars as pl

from rqrec.models.bundle.tables import ITEM_ID

# As shops call it; the first that there is counts.
TITLE_NAMES = ("title", "name", "product_title", "product_name", "item_name", "movie_title", "headline", "label")


def title_attribute(items: pl.DataFrame, text_attributes: Sequence[str]) -> str | None:
    """Returns the name of the attribute with the titles; None if no attribute is a string.

    An attribute that is called like a title is one. Else it is, of the strings that the model reads as text, or of all
    strings if it reads none, the one with the most different values.

    Args:
        items: The items, one column for each attribute.
        text_attributes: The attributes that the model reads as text.
    """
    strings = [name for name, kind in items.schema.items() if kind == pl.String and name != ITEM_ID]
    named = {name.strip().lower().replace(" ", "_"): name for name in reversed(strings)}
    for title in TITLE_NAMES:
        if title in named:
            return named[title]
    strings = [name for name in strings if name in text_attributes] or strings
    return max(strings, key=lambda name: items[name].n_unique(), default=None)
