"""Fits items that a bundle does not have to its attributes, and gives them features and semantic IDs.

Shapes: M new items, R items of the bundle, L levels, V codes per level, E feature columns.
"""

import logging
from collections.abc import Sequence

import numpy as np
import polars as pl

from rqrec.models.array_types import FloatArray, IntArray
from rqrec.models.bundle.bundle import Bundle
from rqrec.models.bundle.tables import ITEM_ID
from rqrec.models.items.item_tokenizer import ItemTokenizer, NoTextEncoder
from rqrec.models.tokenizer.featurizer import TEXT, Given, Source, as_written, vector_values
from rqrec.models.trie.semantic_ids import free_collision_code
from rqrec.training.bundling.bundle_files import payload_column
from rqrec.training.data.dataset import DataError

TEXT_VECTOR = "text_vector"  # the column with the embedding of an item's text, if the service was given one
SHOWN = 60  # characters of a wrong value
logger = logging.getLogger("rqrec")


def fitted_to_bundle(tables: Sequence[tuple[str, pl.DataFrame]], bundle: Bundle) -> pl.DataFrame:
    """Returns the items that a bundle does not have, with the attributes and types that it has.

    Attributes that the bundle does not have are left out; missing ones are null. Of several rows of one item, the last
    one counts. A type is converted if this changes no value, such as 1995.0 to 1995.

    Args:
        tables: The file of each table of items, for messages, and the table: `item_id`, and attributes of the types
            that training allows.
        bundle: The bundle.

    Returns:
        One row per new item, in the order of the tables: the columns of `bundle.items`, then vector attributes of the
        features, then `text_vector`.

    Raises:
        DataError: If the type of the bundle's attribute cannot hold a value.
    """
    vectors = {block.name: block.width for block in bundle.featurizer.blocks if block.source is Source.VECTOR}
    if (text := bundle.featurizer.given_block(TEXT)) is not None:
        vectors[TEXT_VECTOR] = text.width
    schema = {**bundle.items.schema, **{name: pl.Array(pl.Float32, width) for name, width in vectors.items()}}
    fitted = [pl.DataFrame(schema=schema)]
    for path, table in tables:
        new = table.join(bundle.items.select(ITEM_ID), on=ITEM_ID, how="anti", maintain_order="left")
        fitted.append(pl.DataFrame([_fitted(new, name, kind, path) for name, kind in schema.items()]))
    return pl.concat(fitted).unique(ITEM_ID, keep="last", maintain_order=True)


def _fitted(items: pl.DataFrame, name: str, kind: pl.DataType, path: str) -> pl.Series:
    if name not in items.columns:
        return pl.Series(name, [None] * len(items), dtype=kind)
    given = items[name]
    if not isinstance(given.dtype, pl.Array):
        given = payload_column(given)
    fitted = _converted(given, kind)
    wrong = (given.is_not_null() & fitted.is_null()).arg_true()
    if len(wrong):
        shown = str(given.to_list()[wrong[0]])[:SHOWN]
        raise DataError(
            f"{path}: the attribute {name!r} of new items must be of the type {kind}, as in the bundle, but item "
            f"{items[ITEM_ID][wrong[0]]!r} has {shown!r} ({given.dtype}; {len(wrong)} such "
            "items): correct the items, or run a full training (rqrec train), which chooses the types anew"
        )
    return fitted


def _converted(given: pl.Series, kind: pl.DataType) -> pl.Series:
    """Converts a column to a type. A value that the type cannot hold becomes null; polars would change many of them."""
    if given.dtype in (kind, pl.Null):
        return given.cast(kind)
    nothing = pl.Series(given.name, [None] * len(given), dtype=kind)
    if isinstance(given.dtype, pl.Array) and isinstance(kind, pl.Array):
        return given.cast(kind) if given.dtype.shape == kind.shape else nothing
    if given.dtype.is_numeric() and kind == pl.String:
        return as_written(given)
    fitted = given.cast(kind, strict=False) if kind.is_numeric() and not given.dtype.is_nested() else nothing
    if given.dtype == pl.String:
        is_same = as_written(fitted) == given
    elif not given.dtype.is_numeric():
        return nothing
    elif given.dtype.is_float() and kind.is_float():  # with fewer digits, as in the service
        is_same = fitted.is_finite() | given.is_infinite()
    else:
        is_same = fitted.cast(given.dtype, strict=False) == given
    return fitted.zip_with(is_same.fill_null(value=False), nothing)


def features_of(new_items: pl.DataFrame, tokenizer: ItemTokenizer) -> FloatArray:
    """Computes the features of new items as the service does it.

    An item with a `text_vector` has this embedding of its text, every other one that of the bundle's text encoder. If
    the bundle has no text encoder, texts count as missing, and a warning says so.

    Args:
        new_items: The result of `fitted_to_bundle`.
        tokenizer: The item tokenizer of the bundle.

    Returns:
        Features of shape (M, E), float32.
    """
    if not tokenizer.text_width:
        return tokenizer.features(new_items, None)
    vectors_MW, present_M = vector_values(new_items[TEXT_VECTOR])
    if not present_M.all():
        try:
            embedded = tokenizer.embed(new_items.filter(pl.Series(~present_M)))
        except NoTextEncoder as reason:
            logger.warning("%d new items have no features of their texts: %s", (~present_M).sum(), reason)
            embedded = None
        if embedded is not None:
            vectors_MW[~present_M], present_M[~present_M] = embedded.vectors_NW, embedded.present_N
    return tokenizer.features(new_items, Given(vectors_MW, present_M))


def with_new_codes(codes_RL: IntArray, codes_MC: IntArray) -> IntArray:
    """Appends the semantic IDs of new items to those of known items, which stay as they are.

    The collision code of a new item is the smallest free one below its codes, as in the service.

    Args:
        codes_RL: The semantic IDs of the known items.
        codes_MC: The L - 1 codes of each new item, without the collision code.

    Returns:
        The semantic IDs of all items, int64 of shape (R + M, L).
    """
    taken: dict[tuple[int, ...], int] = {}
    for *codes, last in codes_RL.tolist():
        taken[tuple(codes)] = taken.get(tuple(codes), 0) | 1 << last
    new_ML = np.empty((len(codes_MC), codes_RL.shape[1]), dtype=np.int64)
    for row, codes in enumerate(map(tuple, codes_MC.tolist())):
        code = free_collision_code(taken.get(codes, 0))
        taken[codes] = taken.get(codes, 0) | 1 << code
        new_ML[row] = *codes, code
    return np.concatenate([codes_RL, new_ML])
