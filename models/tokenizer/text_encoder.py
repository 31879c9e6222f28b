"""The sentence encoder of a bundle, on ONNX Runtime and `tokenizers`: needs no torch, and calls nothing by name.

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
    """Embeds texts; any number of threads may do so at the same time.

    Args:
        graph: token_ids_NT and mask_NT (int64, 1 for a token and 0 for padding) → vectors_NE (float32).
        tokenizer: A tokenizer.json that also says where texts are cut off and how they are padded.
    """

    def __init__(self, graph: Path, tokenizer: Path) -> None:
        self._tokenizer = Tokenizer.from_str(tokenizer.read_text(encoding="utf-8"))
        self._graph = open_session(graph)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The vectors of texts, shape (N, E); N >= 1."""
        encodings = self._tokenizer.encode_batch(list(texts))
        inputs = {
            TOKEN_IDS: np.array([encoding.ids for encoding in encodings], dtype=np.int64),
            MASK: np.array([encoding.attention_mask for encoding in encodings], dtype=np.int64),
        }
        (vectors_NE,) = self._graph.run([VECTORS], inputs)
        return np.asarray(vectors_NE, dtype=np.float32)


_LOADED: WeakValueDictionary[tuple[bytes, bytes], TextEncoder] = WeakValueDictionary()
_LOADING = Lock()


def shared_text_encoder(graph: Path, tokenizer: Path) -> TextEncoder:
    """The process's one encoder of this content, loaded where no other model holds it; safe to call from any thread.

    Args:
        graph: See `TextEncoder`.
        tokenizer: See `TextEncoder`.
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
