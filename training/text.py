"""Text to vectors: latent semantic analysis out of the box, or any sentence encoder that is installed.

Shapes: N texts, E vector dim.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from models.text_encoder import LSA, load_text_encoder

ENCODE_BATCH = 64


def encode_texts(texts: list[str], *, encoder: str, lsa_dim: int, seed: int) -> NDArray[np.float32]:
    """Embeds texts.

    Args:
        texts: N texts; empty ones are allowed.
        encoder: "lsa" for tf-idf of words and word pieces reduced by SVD (Deerwester et al. 1990), fitted on these
            very texts; anything else is loaded by `models.text_encoder.load_text_encoder`.
        lsa_dim: E for "lsa".
        seed: Of the SVD.

    Returns:
        float32 of shape (N, E).

    Raises:
        ImportError: If the encoder's package is not installed; says which extra to install.
    """
    if encoder == LSA:
        return _latent_semantic_analysis(texts, lsa_dim, seed)
    return np.asarray(
        load_text_encoder(encoder).encode(texts, batch_size=ENCODE_BATCH, show_progress_bar=True), dtype=np.float32
    )


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
