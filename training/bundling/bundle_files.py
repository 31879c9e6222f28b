"""Writes the files of a bundle from what the stages learned.

Shapes: N items, E feature columns, P content width, D item vector width.
"""

from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from safetensors.torch import save_file

from rqrec.models.array_file import write_array
from rqrec.models.array_types import FloatArray
from rqrec.models.bundle.bundle import Bundle
from rqrec.models.bundle.golden import Golden, golden_faults, record_golden
from rqrec.models.bundle.layout import (
    CONTENTS,
    FEATURES,
    FEATURIZER,
    ITEMS,
    MAP,
    MAPPED_FROM,
    MEANINGS,
    PROJECTION,
    RETRIEVER_WEIGHTS,
    TOKENIZER_WEIGHTS,
    TRANSITIONS,
)
from rqrec.models.bundle.learned_items import write_learned_items
from rqrec.models.bundle.transition_table import write_transitions
from rqrec.models.items.content_neighbours import content_of
from rqrec.models.items.mapped_files import write_mapped_files
from rqrec.models.trie.trie import SemanticIdTrie
from rqrec.training.bundling.graphs import write_graphs
from rqrec.training.bundling.trained import Learned
from rqrec.training.data.dataset import Dataset
from rqrec.training.features.content import fit_content
from rqrec.training.insight.item_map import draw_map
from rqrec.training.insight.meanings import find_meanings
from rqrec.training.runtime.progress import Task
from rqrec.training.serving_recommender import item_vectors, make_recommender


def write_files(
    folder: Path, dataset: Dataset, learned: Learned, task: Task, *, half_precision: bool, parent: Bundle | None
) -> list[Golden]:
    """Writes all files of a bundle except the manifest and the text encoder.

    Args:
        folder: The bundle's folder.
        dataset: The data set.
        learned: What the stages learned.
        task: Shows the progress.
        half_precision: Whether to write the search graph in half precision too.
        parent: The bundle from which a retraining went on; None after a full training.

    Returns:
        The golden answers: answers that the service must reproduce.
    """
    features, retriever, popularity_N = learned.features, learned.retriever, learned.popularity_N
    save_file(retriever.state_dict(), folder / RETRIEVER_WEIGHTS)
    save_file(learned.tokenizer.state_dict(), folder / TOKENIZER_WEIGHTS)
    codes_NL = learned.ids.codes_NL
    trie = SemanticIdTrie.build(codes_NL, codebook_size=learned.ids.codebook_size)
    task.next_step("the tables of the items")
    projection_EP = fit_content(features)
    item_vectors_ND = item_vectors(retriever, trie, features, projection_EP, popularity_N)
    contents_NP = content_of(features.features_NE, projection_EP).astype(np.float16)
    write_array(folder / PROJECTION, projection_EP)
    write_array(folder / CONTENTS, contents_NP)
    write_array(folder / FEATURES, features.features_NE)
    (folder / FEATURIZER).write_text(features.featurizer.to_json(), encoding="utf-8")
    _write_arrays(folder, learned, trie, item_vectors_ND, contents_NP)
    shown = [payload_column(column) for column in dataset.items.iter_columns()]
    pl.DataFrame([column for column in shown if column.dtype != pl.Null]).write_parquet(folder / ITEMS)
    task.next_step("the meaning of codes, and the map of the items")
    size = learned.ids.codebook_size
    find_meanings(codes_NL, dataset.items, features.featurizer, codebook_size=size).write_parquet(folder / MEANINGS)
    write_array(folder / MAP, draw_map(item_vectors_ND[:, : retriever.config.compared_width], learned.map_R2))
    task.next_step("the answers that a service must give again")
    recommender = partial(
        make_recommender, retriever, trie, item_vectors_ND, popularity_N, learned.bonus, learned.transitions
    )
    golden = record_golden(recommender(), popularity_N)
    task.next_step("the graphs of the tokenizer and the search")
    write_graphs(
        folder,
        learned,
        trie,
        half_precision=half_precision,
        parent=parent,
        faults=lambda graph: golden_faults(recommender(graph=graph), golden),
    )
    return golden


def _write_arrays(
    folder: Path, learned: Learned, trie: SemanticIdTrie, item_vectors_ND: FloatArray, contents_NP: NDArray[np.floating]
) -> None:
    """Writes semantic IDs, popularity, vectors and transitions; those of a large catalogue as files to be mapped."""
    is_mapped, popularity_N = len(item_vectors_ND) >= MAPPED_FROM, learned.popularity_N
    transitions = None if learned.bonus.following is None else learned.transitions
    write_learned_items(folder, trie, popularity_N, None if is_mapped else item_vectors_ND)
    if is_mapped:
        write_mapped_files(folder, trie, popularity_N, item_vectors_ND, contents_NP, transitions)
    elif transitions is not None:
        write_transitions(transitions, folder / TRANSITIONS)


def payload_column(column: pl.Series) -> pl.Series:
    """Converts an item attribute to a type that JSON has, so that the service can return it with the item.

    A column of vectors, bytes or Python objects cannot be shown: the result has the type Null and no values.
    """
    if isinstance(column.dtype, pl.Array) or column.dtype in (pl.Binary, pl.Object):
        return pl.Series(column.name, [None] * len(column), dtype=pl.Null)
    if column.dtype.is_temporal() or isinstance(column.dtype, pl.Categorical | pl.Enum):
        return column.cast(pl.String)
    if column.dtype.is_decimal():
        return column.cast(pl.Float64)
    if column.dtype.is_float():
        return column.fill_nan(None)
    return column
