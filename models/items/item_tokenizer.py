"""Items that training did not know: attributes → features → codes, and features → vectors. Needs no torch.

Shapes: N items, R rows of the bundle, E feature columns, L levels (the collision level included), D width.
"""

from reprlib import repr as shortened

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rqrec.models.array_types import FloatArray, IntArray
from rqrec.models.bundle.bundle import Bundle
from rqrec.models.bundle.error import reading
from rqrec.models.bundle.layout import CONTENTS, FEATURIZER, TEXT_ENCODER_GRAPH, TEXT_TOKENIZER, TOKENIZER_GRAPH
from rqrec.models.items.content_neighbours import ContentNeighbours
from rqrec.models.onnx_session import open_session
from rqrec.models.tokenizer.featurizer import TEXT, Given, Source
from rqrec.models.tokenizer.text_encoder import TextEncoder, shared_text_encoder


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
    """

    def __init__(self, bundle: Bundle) -> None:
        self.featurizer = bundle.featurizer
        self.is_known_R: NDArray[np.bool_] = bundle.learned.popularity_R > 0
        self.vectors_RD = bundle.learned.vectors_RD
        self._bundle = bundle
        self._text_encoder: TextEncoder | None = None
        with reading(bundle.path, CONTENTS):
            known = self.is_known_R if self.is_known_R.any() else ~self.is_known_R
            self._neighbours = ContentNeighbours(
                bundle.projection_EP, bundle.contents_RP[known], self.vectors_RD[known]
            )
        with reading(bundle.path, TOKENIZER_GRAPH):
            self._tokenizer = open_session(bundle.path / TOKENIZER_GRAPH)
        self._try(bundle)

    def _try(self, bundle: Bundle) -> None:
        """Tokenises the first item, so that what does not fit together is noticed here.

        Raises:
            BundleError: If that fails.
        """
        nothing = {name: pl.Array(pl.Float32, width) for name, width in self.vector_attributes.items()}
        with reading(bundle.path, FEATURIZER):
            item = bundle.items[:1].with_columns(pl.Series(name, [None], dtype=kind) for name, kind in nothing.items())
            self.featurizer.texts(item)
            features_1E = self.features(item, None)
            vectors_1D = self.vectors(features_1E)
        with reading(bundle.path, TOKENIZER_GRAPH):
            codes_1L, config = self.codes(features_1E), bundle.manifest.retriever_config
            is_code = (codes_1L >= 0) & (codes_1L < config.codebook_size)
            if codes_1L.shape != (1, config.num_levels - 1) or not is_code.all() or not np.isfinite(vectors_1D).all():
                raise ValueError(f"of the first item it makes the codes {shortened(codes_1L.tolist())}")

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
            BundleError: If it cannot be used.
        """
        if reason := self._bundle.manifest.no_text_encoder:
            raise NoTextEncoder(reason)
        if self._text_encoder is None:
            folder = self._bundle.path
            with reading(folder, TEXT_ENCODER_GRAPH):
                encoder = shared_text_encoder(folder / TEXT_ENCODER_GRAPH, folder / TEXT_TOKENIZER)
                vectors_1W = encoder.encode(["a text"])
                if vectors_1W.shape != (1, self.text_width) or not np.isfinite(vectors_1W).all():
                    raise ValueError(f"expected a vector of {self.text_width} numbers, got shape {vectors_1W.shape}")
            self._text_encoder = encoder
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
