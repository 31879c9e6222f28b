"""Computes the features of a new item from its attributes, and its codes and vector from the features.

This module does not need PyTorch.

The last code of a semantic ID is the collision code: it tells items with otherwise equal codes apart. It is not
computed here, because it depends on the other items of the catalogue.

Shapes: N items, R rows of the bundle, E feature columns, P content width, L codes of a semantic ID, D width.
"""

from reprlib import repr as shortened

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rqrec.models.array_types import FloatArray, IntArray
from rqrec.models.bundle.bundle import Bundle
from rqrec.models.bundle.error import LONGEST_REASON, reading
from rqrec.models.bundle.layout import CONTENTS, FEATURIZER, TEXT_ENCODER_GRAPH, TEXT_TOKENIZER, TOKENIZER_GRAPH
from rqrec.models.items.content_neighbours import content_of
from rqrec.models.items.known_neighbours import known_neighbours
from rqrec.models.onnx_session import open_session
from rqrec.models.tokenizer.featurizer import TEXT, Given, Source
from rqrec.models.tokenizer.text_encoder import TextEncoder, shared_text_encoder
from rqrec.models.tokenizer.text_encoder_check import check_text_encoder


class NoTextEncoder(Exception):
    """Raised when a text encoder is needed but the bundle has none. The message says why the bundle has none."""


class ItemTokenizer:
    """Computes the features, codes and vectors of items that are added after training, with the models of a bundle.

    Args:
        bundle: The bundle of the trained model.

    Attributes:
        featurizer: Computes the features of an item from its attributes.
        is_known_R: Whether users chose each of the bundle's R items at least once in the training data, bool.
        vectors_ND: The item vectors of the bundle's items, in the order of the leaves, float32, shape (N, D).

    Raises:
        BundleError: If the files of the bundle do not fit together.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.featurizer = bundle.featurizer
        self.is_known_R: NDArray[np.bool_] = bundle.learned.popularity_R > 0
        self.vectors_ND = bundle.learned.vectors.rows
        self._bundle = bundle
        self._text_encoder: TextEncoder | None = None
        with reading(bundle.path, CONTENTS):
            self._neighbours = known_neighbours(bundle)
        with reading(bundle.path, TOKENIZER_GRAPH):
            self._tokenizer = open_session(bundle.path / TOKENIZER_GRAPH)
        self._try(bundle)

    def _try(self, bundle: Bundle) -> None:
        """Tokenises the first item, to find parts that do not fit together before the bundle serves.

        Raises:
            BundleError: If the item cannot be tokenised.
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
                raise ValueError(
                    f"expected {config.num_levels - 1} codes in [0, {config.codebook_size}) and a finite vector of the "
                    f"first item, got the codes {shortened(codes_1L.tolist())}"
                )

    @property
    def text_width(self) -> int:
        """The width of a text's embedding; 0 if the features of the model include no text."""
        block = self.featurizer.given_block(TEXT)
        return block.width if block is not None else 0

    @property
    def vector_attributes(self) -> dict[str, int]:
        """The attributes that are vectors: a dictionary from the attribute's name to the vector's width."""
        return {block.name: block.width for block in self.featurizer.blocks if block.source is Source.VECTOR}

    def embed(self, items: pl.DataFrame) -> Given | None:
        """Embeds the texts of items with the bundle's text encoder.

        Args:
            items: One row per item, with a column for every attribute of which the text consists.

        Returns:
            One embedding per item, and which items have a text; None if no item has a text, or if the features of the
            model include no text.

        Raises:
            NoTextEncoder: If the bundle holds no text encoder.
            BundleError: If the text encoder cannot be used.
        """
        texts = self.featurizer.texts(items) if self.text_width else []
        present_N = np.array([bool(text) for text in texts], dtype=np.bool_)
        if not present_N.any():
            return None
        return Given(self.load_text_encoder().encode(texts), present_N)

    def load_text_encoder(self) -> TextEncoder:
        """Returns the bundle's text encoder. The first call loads it, which takes about a second.

        Bundles whose encoders have equal files share one encoder in memory. Any thread may call this method.

        Raises:
            NoTextEncoder: If the bundle holds no text encoder.
            BundleError: If the text encoder cannot be used.
        """
        if self._text_encoder is None:
            self._text_encoder = self.checked_text_encoder()
        return self._text_encoder

    def checked_text_encoder(self) -> TextEncoder:
        """Opens the bundle's text encoder, checks that it gives finite vectors of the right width, and returns it.

        Unlike `load_text_encoder`, this method does not store the encoder in this object. So a caller that only wants
        the check, because it embeds no texts, does not keep the encoder in memory.

        Raises:
            NoTextEncoder: If the bundle holds no text encoder.
            BundleError: If the text encoder cannot be used.
        """
        if reason := self._bundle.manifest.no_text_encoder:
            raise NoTextEncoder(reason if len(reason) <= LONGEST_REASON else f"{reason[:LONGEST_REASON]}...")
        folder = self._bundle.path
        with reading(folder, f"{TEXT_ENCODER_GRAPH} with {TEXT_TOKENIZER}"):
            encoder = shared_text_encoder(folder / TEXT_ENCODER_GRAPH, folder / TEXT_TOKENIZER)
            check_text_encoder(encoder, self.text_width)
        return encoder

    def features(self, items: pl.DataFrame, text: Given | None) -> FloatArray:
        """Computes the features of new items from their attributes.

        Features that depend on users' choices in the training data count as missing, because new items lack them.

        Args:
            items: One row per item, with a column for every attribute that the featurizer reads.
            text: The embeddings of the items' texts, from `embed`; None if no item has a text.

        Returns:
            Features of shape (N, E), float32.
        """
        return self.featurizer.transform(items, {} if text is None else {TEXT: text})

    def codes(self, features_NE: FloatArray) -> IntArray:
        """Computes the codes of N items, except the collision code, which tells items with equal codes apart.

        Returns int64 of shape (N, L - 1).
        """
        (codes_NL,) = self._tokenizer.run(None, {"features_NE": features_NE})
        return np.asarray(codes_NL, dtype=np.int64)

    def contents(self, features_NE: FloatArray) -> FloatArray:
        """Computes the content vectors of N items, by which items are compared; float32 of shape (N, P)."""
        return content_of(features_NE, self._bundle.projection_EP)

    def content_of_text(self, text: str) -> FloatArray:
        """Computes the content vector of an item of which only a text is known; float32 of shape (P,).

        Args:
            text: The text. The text encoder cuts a long one.

        Raises:
            NoTextEncoder: If the bundle holds no text encoder.
            BundleError: If the text encoder cannot be used.
        """
        given = Given(self.load_text_encoder().encode([text]), np.ones(1, dtype=np.bool_))
        nothing = {name: pl.Array(pl.Float32, width) for name, width in self.vector_attributes.items()}
        item = self._bundle.items.clear(1).with_columns(
            pl.Series(name, [None], dtype=nothing[name]) for name in nothing
        )
        content_P: FloatArray = self.contents(self.features(item, given))[0]
        return content_P

    def vectors(self, features_NE: FloatArray) -> FloatArray:
        """Computes the vectors of N new items from known items of similar content; returns float32 of shape (N, D)."""
        return self._neighbours.vectors(features_NE)
