"""Checks that a change fits the model before it is applied."""

import numpy as np
import polars as pl

from rqrec.models.items.item_tokenizer import ItemTokenizer
from rqrec.service.catalogue.changes import BadChange, Change, Forget, Put
from rqrec.service.catalogue.item import frame_of, is_unicode
from rqrec.service.catalogue.snapshot import Snapshot


def check_change(change: Change, snapshot: Snapshot, tokenizer: ItemTokenizer) -> None:
    """Checks that a change can be applied to the catalogue of a model.

    Args:
        change: The change.
        snapshot: Any state of the model's catalogue.
        tokenizer: The model's item tokenizer.

    Raises:
        BadChange: If the change does not fit, for example because it has the codes of another model.
    """
    if not is_unicode(change.item_id):
        raise BadChange(f"expected an item_id that UTF-8 can encode, got {change.item_id!r}")
    if isinstance(change, Forget) and change.item_id in snapshot.table.leaf_of_id:
        raise BadChange(f"expected an item that was never in the bundle to be forgotten, got {change.item_id!r}")
    if isinstance(change, Put):
        _check_put(change, snapshot, tokenizer)


def _check_put(put: Put, snapshot: Snapshot, tokenizer: ItemTokenizer) -> None:
    trie, width = snapshot.trie, tokenizer.featurizer.width
    if len(put.codes) != trie.num_levels - 1 or not all(0 <= code < trie.codebook_size for code in put.codes):
        raise BadChange(f"expected {trie.num_levels - 1} codes in [0, {trie.codebook_size}), got {put.codes}")
    if len(put.features) != width * np.dtype(np.float32).itemsize:
        raise BadChange(f"expected {width} features as float32, got {len(put.features)} bytes")
    if not np.isfinite(np.frombuffer(put.features, dtype=np.float32)).all():
        raise BadChange("expected finite features, got infinite or NaN ones")
    try:
        frame_of([put.item], snapshot.filters.schema)
    except (pl.exceptions.PolarsError, UnicodeError) as error:
        raise BadChange(f"expected a payload with the catalogue's attributes, got another one: {error}") from error
