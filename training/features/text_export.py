"""Exports the text encoder that training used to two files of a bundle: an ONNX graph and a tokenizer.json.

Shapes: N texts, E vector dimensions.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from rqrec.models.bundle.layout import TEXT_ENCODER_GRAPH, TEXT_TOKENIZER
from rqrec.models.search.exporting.export import export_text_encoder
from rqrec.models.tokenizer.text_encoder import TextEncoder
from rqrec.models.tokenizer.text_encoder_check import check_text_encoder
from rqrec.training.features.text import load_text_encoder

MIN_COSINE = 0.9999
SAMPLES = (
    "Heat",
    "  Title: 2001: A SPACE Odyssey.\tGenres: Sci-Fi, Drama\n",
    "Amélie, 千と千尋の神隠し, Броненосец «Потёмкин» 🎬",
    "a word of a long text, " * 2000,
)
TEXTS_COMPARED = 28  # of the items, besides SAMPLES


class NotExportable(Exception):
    """Raised when the text encoder cannot be exported to a bundle. The message says why."""


def write_text_encoder(name: str, texts: Sequence[str], folder: Path) -> str:
    """Exports the text encoder to a bundle. If this is impossible, returns the reason and leaves no files.

    Args:
        name: Name of the encoder; see `training.features.text.load_text_encoder`.
        texts: The items' texts. For some of them, and for the difficult texts in `SAMPLES`, the exported encoder must
            give the same vectors as the original one.
        folder: The bundle's folder.

    Returns:
        The reason why the bundle holds no text encoder; empty if it holds one.

    Raises:
        MissingPackage: If the encoder's package is not installed.
    """
    try:
        _export(name, [SAMPLES, *([texts[:TEXTS_COMPARED]] if texts else [])], folder)
    except NotExportable as error:
        for file in (TEXT_ENCODER_GRAPH, TEXT_TOKENIZER):
            (folder / file).unlink(missing_ok=True)
        return str(error)
    return ""


def _export(name: str, batches: Sequence[Sequence[str]], folder: Path) -> None:
    """Exports the encoder, and compares it with the original. A batch of short texts is not padded to a long one."""
    encoder: Any = load_text_encoder(name)
    tokenizer: Any = getattr(encoder, "tokenizer", None)
    is_model = isinstance(encoder, torch.nn.Module)
    if not is_model or not getattr(tokenizer, "is_fast", False):
        raise NotExportable(f"the text encoder {name!r} is not a sentence-transformers model with a fast tokenizer")
    encoder.to("cpu")
    original_NE = np.concatenate(
        [np.asarray(encoder.encode(list(texts), show_progress_bar=False)) for texts in batches]
    )
    try:
        (folder / TEXT_TOKENIZER).write_text(_tokenizer_json(encoder), encoding="utf-8")
        reads_types = "token_type_ids" in tokenizer.model_input_names
        export_text_encoder(encoder, folder / TEXT_ENCODER_GRAPH, reads_types=reads_types)
        exported = TextEncoder(folder / TEXT_ENCODER_GRAPH, folder / TEXT_TOKENIZER)
        check_text_encoder(exported, original_NE.shape[1])
        exported_NE = np.concatenate([exported.encode(texts) for texts in batches])
        cosine = _least_cosine(original_NE, exported_NE)
    except Exception as error:  # exporting foreign code can raise any exception
        raise NotExportable(f"the text encoder {name!r} cannot be exported ({type(error).__name__})") from error
    if not cosine >= MIN_COSINE:
        raise NotExportable(
            f"the text encoder {name!r} must give the same vectors after its export (cosine at least {MIN_COSINE}), "
            f"got cosine {cosine:.4f}"
        )


def _tokenizer_json(encoder: Any) -> str:
    """Returns the tokenizer with the truncation and padding that sentence-transformers adds."""
    fast = encoder.tokenizer
    tokenizer = Tokenizer.from_str(fast.backend_tokenizer.to_str())
    longest = encoder.max_seq_length or fast.model_max_length
    tokenizer.enable_truncation(int(longest), direction=fast.truncation_side)
    tokenizer.enable_padding(direction=fast.padding_side, pad_id=fast.pad_token_id, pad_token=fast.pad_token)
    return tokenizer.to_str()


def _least_cosine(one_NE: NDArray[np.float32], other_NE: NDArray[np.float32]) -> float:
    products_N = np.einsum("ne,ne->n", one_NE, other_NE)
    return float((products_N / np.linalg.norm(one_NE, axis=1) / np.linalg.norm(other_NE, axis=1)).min())
