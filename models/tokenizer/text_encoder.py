"""Runs the text encoder of a bundle with ONNX Runtime and the package `tokenizers`. This module does not need PyTorch.

The files of a bundle are read as data only: no function or class that they name is called.

Shapes: N texts, T tokens, E vector dim.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from rqrec.models.onnx_session import open_session

TOKEN_IDS, MASK, VECTORS = "token_ids_NT", "mask_NT", "vectors_NE"


class TextEncoder:
    """A sentence encoder, which turns texts into vectors. Any number of threads may call it at the same time.

    Args:
        graph: The path of the ONNX file. Its inputs are token_ids_NT and mask_NT (int64; 1 for a token, 0 for padding),
            its output is vectors_NE (float32).
        tokenizer: The path of the file tokenizer.json. It also defines how texts are truncated and padded.
    """

    def __init__(self, graph: Path, tokenizer: Path) -> None:
        self._tokenizer = Tokenizer.from_str(tokenizer.read_text(encoding="utf-8"))
        self._graph = open_session(graph)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeds N texts, at least one. Returns vectors of shape (N, E), float32."""
        encodings = self._tokenizer.encode_batch(list(texts))
        mask_NT = np.array([encoding.attention_mask for encoding in encodings], dtype=np.int64)
        return self.run(np.array([encoding.ids for encoding in encodings], dtype=np.int64), mask_NT)

    def run(self, token_ids_NT: NDArray[np.int64], mask_NT: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Embeds texts that have been tokenised before.

        Args:
            token_ids_NT: The token ids of N texts, T tokens each, int64.
            mask_NT: 1 for a token and 0 for padding, int64; None if there is no padding.

        Returns:
            Vectors of shape (N, E), float32.
        """
        mask_NT = np.ones_like(token_ids_NT) if mask_NT is None else mask_NT
        (vectors_NE,) = self._graph.run([VECTORS], {TOKEN_IDS: token_ids_NT, MASK: mask_NT})
        return np.asarray(vectors_NE, dtype=np.float32)

    @property
    def longest(self) -> int | None:
        """The number of tokens to which the tokenizer truncates a text; None if it does not truncate texts."""
        truncation = self._tokenizer.truncation
        return None if truncation is None else int(truncation["max_length"])

    @property
    def largest_token(self) -> int:
        """The largest token id of the tokenizer; 0 if its vocabulary is empty."""
        return max(self._tokenizer.get_vocab(with_added_tokens=True).values(), default=0)


_LOADED: WeakValueDictionary[tuple[bytes, bytes], TextEncoder] = WeakValueDictionary()
_LOADING = Lock()


def shared_text_encoder(graph: Path, tokenizer: Path) -> TextEncoder:
    """Returns the text encoder of an ONNX file and a tokenizer file. Files of equal content share one encoder.

    The first call loads the encoder, and later calls in the process return the same object. It is freed when nothing
    refers to it any more. Any thread may call this function.

    Args:
        graph: The path of the ONNX file, as in `TextEncoder`.
        tokenizer: The path of the file tokenizer.json, as in `TextEncoder`.
    """
    key = _digest(graph), _digest(tokenizer)
    with _LOADING:
        encoder = _LOADED.get(key)
        if encoder is None:
            encoder = _LOADED[key] = TextEncoder(graph, tokenizer)
        return encoder


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
