"""Items that training did not know: attributes → features → codes, and features → vectors. Needs no torch.

Shapes: N items, R rows of the bundle, E feature columns, L levels (the collision level included), D width.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.bundle import (
    CONTENTS,
    FEATURIZER,
    PROJECTION,
    TEXT_ENCODER_GRAPH,
    TEXT_TOKENIZER,
    TOKENIZER_GRAPH,
    Bundle,
)
from models.featurizer import TEXT, Featurizer, FloatArray, Given, Source
from models.new_items import ContentNeighbours
from models.onnx_engine import open_session
from models.text_encoder import TextEncoder, shared_text_encoder
from models.trie import IntArray


class NoTextEncoder(Exception):
    """Texts cannot be embedded here; says why."""


class ItemTokenizer:
    """What a bundle was trained with, for items written later.

    Args:
        bundle: The bundle.

    Attributes:
        featurizer: Attributes to features.
        is_known_R: Which of the bundle's items somebody chose in training.
        vectors_RD: The bundle's item vectors.
        codes_RL: The bundle's semantic IDs.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.featurizer = Featurizer.from_json((bundle.path / FEATURIZER).read_text(encoding="utf-8"))
        self.is_known_R: NDArray[np.bool_] = bundle.learned.popularity_R > 0
        self.vectors_RD = bundle.learned.vectors_RD
        self.codes_RL: NDArray[np.integer] = bundle.learned.codes_RL
        contents_RP = np.load(bundle.path / CONTENTS, allow_pickle=False)
        known = self.is_known_R if self.is_known_R.any() else ~self.is_known_R
        projection_EP = np.load(bundle.path / PROJECTION, allow_pickle=False)
        self._neighbours = ContentNeighbours(projection_EP, contents_RP[known], self.vectors_RD[known])
        self._tokenizer = open_session(bundle.path / TOKENIZER_GRAPH)
        self._bundle = bundle
        self._text_encoder: TextEncoder | None = None

    @property
    def text_width(self) -> int:
        """Numbers in the embedding of a text; 0 where the model reads no text."""
        block = self.featurizer.given_block(TEXT)
        return block.width if block is not None else 0

    @property
    def vector_attributes(self) -> dict[str, int]:
        """The attributes that are vectors, and how many numbers each has."""
        return {block.name: block.width for block in self.featurizer.blocks if block.source is Source.VECTOR}

    def embed(self, items: pl.DataFrame) -> Given | None:
        """The embeddings of the items' texts by the bundle's encoder; None where there is nothing to embed.

        Args:
            items: A column for every string that makes the text.

        Raises:
            NoTextEncoder: If the bundle holds no encoder.
        """
        texts = self.featurizer.texts(items) if self.text_width else []
        present_N = np.array([bool(text) for text in texts], dtype=np.bool_)
        if not present_N.any():
            return None
        return Given(self.load_text_encoder().encode(texts), present_N)

    def load_text_encoder(self) -> TextEncoder:
        """The bundle's encoder, which models of one encoder share; safe to call from any thread.

        The first call takes about a second and the memory of its weights.

        Raises:
            NoTextEncoder: If the bundle holds no encoder; says why.
        """
        if reason := self._bundle.manifest.no_text_encoder:
            raise NoTextEncoder(reason)
        if self._text_encoder is None:
            folder = self._bundle.path
            self._text_encoder = shared_text_encoder(folder / TEXT_ENCODER_GRAPH, folder / TEXT_TOKENIZER)
        return self._text_encoder

    def features(self, items: pl.DataFrame, text: Given | None) -> FloatArray:
        """The features of new items, shape (N, E): of all that training fitted, they lack the co-occurrence.

        Args:
            items: A column for every attribute that the featurizer reads.
            text: The embeddings of their texts.
        """
        return self.featurizer.transform(items, {} if text is None else {TEXT: text})

    def codes(self, features_NE: FloatArray) -> IntArray:
        """Quantised codes, shape (N, L - 1): the collision code is not among them."""
        (codes_NL,) = self._tokenizer.run(None, {"features_NE": features_NE})
        return np.asarray(codes_NL, dtype=np.int64)

    def vectors(self, features_NE: FloatArray) -> FloatArray:
        """Item vectors by content, shape (N, D)."""
        return self._neighbours.vectors(features_NE)
