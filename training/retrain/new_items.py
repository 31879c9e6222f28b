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
from rqrec.models.tokenizer.featurizer import TEXT, Given, Source, vector_values
from rqrec.models.trie.semantic_ids import free_collision_code
from rqrec.training.bundling.bundle_files import payload_column
from rqrec.training.data.dataset import DataError

TEXT_VECTOR = "text_vector"  # the column with the embedding of an item's text, if the service was given one
logger = logging.getLogger("rqrec")


def fitted_to_bundle(tables: Sequence[pl.DataFrame], bundle: Bundle) -> pl.DataFrame:
    """Returns the items that a bundle does not have, with the attributes and types that it has.

    Attributes that the bundle does not have are left out; missing ones are null. Of several rows of one item, the last
    one counts.

    Args:
        tables: Tables of items, each with `item_id` and attributes of the types that training allows.
        bundle: The bundle.

    Returns:
        One row per new item, in the order of the tables: the columns of `bundle.items`, then vector attributes of the
        features, then `text_vector`.

    Raises:
        DataError: If a value does not fit the bundle's attribute.
    """
    vectors = {block.name: block.width for block in bundle.featurizer.blocks if block.source is Source.VECTOR}
    if (text := bundle.featurizer.given_block(TEXT)) is not None:
        vectors[TEXT_VECTOR] = text.width
    schema = {**bundle.items.schema, **{name: pl.Array(pl.Float32, width) for name, width in vectors.items()}}
    fitted = [pl.DataFrame(schema=schema)]
    for table in tables:
        new = table.join(bundle.items.select(ITEM_ID), on=ITEM_ID, how="anti", maintain_order="left")
        fitted.append(pl.DataFrame([_fitted(new, name, kind) for name, kind in schema.items()]))
    return pl.concat(fitted).unique(ITEM_ID, keep="last", maintain_order=True)


def _fitted(items: pl.DataFrame, name: str, kind: pl.DataType) -> pl.Series:
    if name not in items.columns:
        return pl.Series(name, [None] * len(items), dtype=kind)
    column = items[name]
    try:
        return (column if isinstance(kind, pl.Array) else payload_column(column)).cast(kind)
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"the attribute {name!r} of new items must be of the type {kind}, as in the bundle, got {column.dtype}: "
            "correct the items"
        ) from error


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
