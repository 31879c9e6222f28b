import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from rqrec.models.bundle.layout import TEXT_ENCODER_GRAPH, TEXT_TOKENIZER
from rqrec.models.tokenizer.text_encoder import TextEncoder, shared_text_encoder
from tests.text_encoders import LONGEST, write_text_encoder

TEXTS = ["Heat", "a much longer text, with more tokens", "x" * 2 * LONGEST, "Æon 🎬"]


def shared(folder: Path) -> TextEncoder:
    return shared_text_encoder(folder / TEXT_ENCODER_GRAPH, folder / TEXT_TOKENIZER)


def folder_with(path: Path, *, seed: int) -> Path:
    path.mkdir()
    write_text_encoder(path, seed=seed)
    return path


def test_a_text_has_the_same_vector_alone_and_among_others(tmp_path: Path) -> None:
    encoder = shared(folder_with(tmp_path / "one", seed=0))
    together_NE = encoder.encode(TEXTS)
    alone_NE = np.concatenate([encoder.encode([text]) for text in TEXTS])
    assert together_NE.dtype == np.float32
    assert together_NE == pytest.approx(alone_NE, abs=1e-5)
    assert len(np.unique(together_NE, axis=0)) == len(TEXTS)


def test_texts_are_cut_off_and_lowered_as_the_tokenizer_says(tmp_path: Path) -> None:
    encoder = shared(folder_with(tmp_path / "one", seed=0))
    assert (encoder.encode(["a" * LONGEST]) == encoder.encode(["A" * LONGEST + "tail"])).all()


def test_encoders_of_one_content_are_one_and_go_with_the_last_model(tmp_path: Path) -> None:
    one, twin, other = (folder_with(tmp_path / name, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    with ThreadPoolExecutor(8) as pool:
        encoders = list(pool.map(shared, [one, twin] * 8))
    assert all(encoder is encoders[0] for encoder in encoders)
    assert shared(other) is not encoders[0]
    first = weakref.ref(encoders[0])
    encoders.clear()
    gc.collect()
    assert first() is None
