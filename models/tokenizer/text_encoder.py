"""The text encoder of a bundle, on ONNX Runtime and `tokenizers`. Needs no torch.

A bundle's content is data only: it names no function or class that would be called.

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
    """Embeds texts. Safe to call from any number of threads.

    Args:
        graph: The ONNX file. Its inputs are token_ids_NT and mask_NT (int64; 1 for a token, 0 for padding), its output
            is vectors_NE (float32).
        tokenizer: The file tokenizer.json. It also says how texts are truncated and padded.
    """

    def __init__(self, graph: Path, tokenizer: Path) -> None:
        self._tokenizer = Tokenizer.from_str(tokenizer.read_text(encoding="utf-8"))
        self._graph = open_session(graph)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeds at least one text; float32 of shape (N, E)."""
        encodings = self._tokenizer.encode_batch(list(texts))
        mask_NT = np.array([encoding.attention_mask for encoding in encodings], dtype=np.int64)
        return self.run(np.array([encoding.ids for encoding in encodings], dtype=np.int64), mask_NT)

    def run(self, token_ids_NT: NDArray[np.int64], mask_NT: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Embeds texts whose tokens are known.

        Args:
            token_ids_NT: The tokens of each text, int64.
            mask_NT: 1 for a token and 0 for padding, int64; None if there is no padding.

        Returns:
            Vectors of shape (N, E), float32.
        """
        mask_NT = np.ones_like(token_ids_NT) if mask_NT is None else mask_NT
        (vectors_NE,) = self._graph.run([VECTORS], {TOKEN_IDS: token_ids_NT, MASK: mask_NT})
        return np.asarray(vectors_NE, dtype=np.float32)

    @property
    def longest(self) -> int | None:
        """The number of tokens to which texts are cut; None if they are not cut."""
        truncation = self._tokenizer.truncation
        return None if truncation is None else int(truncation["max_length"])

    @property
    def largest_token(self) -> int:
        """The largest token id of the tokenizer; 0 if its vocabulary is empty."""
        return max(self._tokenizer.get_vocab(with_added_tokens=True).values(), default=0)


_LOADED: WeakValueDictionary[tuple[bytes, bytes], TextEncoder] = WeakValueDictionary()
_LOADING = Lock()


def shared_text_encoder(graph: Path, tokenizer: Path) -> TextEncoder:
    """The process's only text encoder of these files' content. Safe to call from any thread.

    Models with equal files share one encoder. It is loaded for the first of them and freed with the last.

    Args:
        graph: As in `TextEncoder`.
        tokenizer: As in `TextEncoder`.
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
