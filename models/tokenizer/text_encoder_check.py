"""Checks a text encoder before it is used, so that no text can make it fail later.

Shapes: N texts, T tokens, E vector dim.
"""

import numpy as np

from rqrec.models.tokenizer.text_encoder import TextEncoder

MOST_TOKENS = 8192  # of a text; attention needs memory in the square of them
TEXTS = ("a text", "a " * MOST_TOKENS)


def check_text_encoder(encoder: TextEncoder, width: int) -> None:
    """Checks that a text encoder computes finite vectors for a short text, a very long text and its largest token id.

    Args:
        encoder: The text encoder to check.
        width: E, the expected width of the vectors.

    Raises:
        ValueError: If the tokenizer does not truncate long texts, or a vector has another width or is not finite.
        Exception: Any error of the tokenizer or of ONNX Runtime.
    """
    if encoder.longest is None or encoder.longest > MOST_TOKENS:
        raise ValueError(
            f"expected a tokenizer that cuts texts to at most {MOST_TOKENS} tokens, got {encoder.longest or 'no limit'}"
        )
    for vectors_NE in (encoder.encode(TEXTS), encoder.run(np.full((1, 1), encoder.largest_token, dtype=np.int64))):
        if vectors_NE.ndim != 2 or vectors_NE.shape[1] != width:
            raise ValueError(f"expected a vector of {width} numbers for each text, got shape {vectors_NE.shape}")
        if not np.isfinite(vectors_NE).all():
            raise ValueError("expected vectors of finite numbers, got NaN or infinity")
