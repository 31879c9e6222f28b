"""What the networks of a recipe train on: that of a run, or synthetic data of MovieLens-25M's shape.

Shapes: N items, E feature columns, U users, I interactions.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.support.synthetic import CODEBOOK_SIZE, synthetic_codes
from rqrec.models.tokenizer.config import FeatureBlock, FeatureKind
from rqrec.models.trie.trie import SemanticIdTrie
from rqrec.training.data.prepare import load_prepared
from rqrec.training.data.splits import Sequences, user_sequences
from rqrec.training.data.splitting.leave_one_out import leave_one_out
from rqrec.training.features.features import load_features
from rqrec.training.run import Run
from rqrec.training.tokenize_items import load_semantic_ids

# The README of the release. Every user has at least 20 ratings.
USERS, MOVIES, RATINGS, FEWEST_RATINGS = 162_541, 62_423, 25_000_095, 20
# Exponents and shifts of Zipf laws, as in `benchmarks.large.data`.
ACTIVITY, POPULARITY = (0.7, 50.0), (0.9, 10.0)
# The columns that the recipe makes of the release: year, genres, title, who chose what, and posters.
BLOCKS = (
    FeatureBlock("year", FeatureKind.CONTINUOUS, 1, 0.25),
    FeatureBlock("genres", FeatureKind.MULTI_HOT, 20, 0.1),
    FeatureBlock("text", FeatureKind.CONTINUOUS, 384),
    FeatureBlock("collaborative", FeatureKind.CONTINUOUS, 64, 0.5),
    FeatureBlock("poster", FeatureKind.CONTINUOUS, 1128),
)


class TrainingData(NamedTuple):
    """What all networks of a recipe train on.

    Attributes:
        name: The name of the data, for the title of a table.
        features_NE: Item features by item_index, float32.
        blocks: The blocks of feature columns, in the order of the columns.
        trie: The trie of the items' semantic IDs.
        train: The training sequences of item_index.
    """

    name: str
    features_NE: NDArray[np.float32]
    blocks: Sequence[FeatureBlock]
    trie: SemanticIdTrie
    train: Sequences

    @classmethod
    def of_run(cls, run: Run) -> "TrainingData":
        """Computes and reads what a run trains on. Its features and semantic IDs are computed first, if need be."""
        features, ids = load_features(run.features), load_semantic_ids(run.tokens)
        trie = SemanticIdTrie.build(ids.codes_NL, codebook_size=ids.codebook_size)
        dataset = load_prepared(run.data)
        train = leave_one_out(user_sequences(dataset)).train
        return cls(dataset.name, features.features_NE, features.blocks, trie, train)

    @classmethod
    def like_ml25m(cls, *, users: int = USERS, movies: int = MOVIES, ratings: int = RATINGS) -> "TrainingData":
        """Draws data of MovieLens-25M's shape. Users and movies are as skewed as the real ones.

        Args:
            users: Number of users.
            movies: Number of movies.
            ratings: Number of ratings, at least 20 for each user.
        """
        rng = np.random.default_rng(0)
        features_NE = np.concatenate([_columns(rng, movies, block) for block in BLOCKS], axis=1)
        trie = SemanticIdTrie.build(synthetic_codes(movies, seed=0), codebook_size=CODEBOOK_SIZE)
        exponent, shift = ACTIVITY
        activity_U = (np.arange(users) + shift) ** -exponent
        more_U = activity_U / activity_U.sum() * (ratings - FEWEST_RATINGS * users)
        lengths_U = rng.permutation(FEWEST_RATINGS + np.diff(np.round(np.cumsum(more_U)), prepend=0).astype(np.int64))
        exponent, shift = POPULARITY
        popularity_N = rng.permutation((np.arange(movies) + shift) ** -exponent)
        bounds_N = np.cumsum(popularity_N / popularity_N.sum())
        items_I = np.searchsorted(bounds_N, rng.random(int(lengths_U.sum()))).clip(max=movies - 1).astype(np.int32)
        train = Sequences.from_arrays(items_I, np.concatenate([[0], np.cumsum(lengths_U)]))
        return cls("synthetic, of MovieLens-25M's shape", features_NE, BLOCKS, trie, train)


def _columns(rng: np.random.Generator, items: int, block: FeatureBlock) -> NDArray[np.float32]:
    if block.kind is FeatureKind.MULTI_HOT:
        return (rng.random((items, block.width)) < 1 / block.width).astype(np.float32)
    return rng.standard_normal((items, block.width), dtype=np.float32)
