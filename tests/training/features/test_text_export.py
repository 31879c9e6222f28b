"""The exported encoder against sentence-transformers itself, on a transformer of random weights."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer

from rqrec.models.bundle.layout import TEXT_ENCODER_GRAPH, TEXT_TOKENIZER
from rqrec.models.tokenizer.text_encoder import TextEncoder
from rqrec.training.features import text_export
from rqrec.training.features.text_export import SAMPLES, write_text_encoder

WIDTH, LONGEST = 16, 24
TEXTS = ["Title: Heat. Genres: Crime, Drama", "HEAT", "heat", "x " * 100]


def model(folder: Path, kind: str) -> SentenceTransformer:
    reader = Transformer(str(folder), max_seq_length=LONGEST, do_lower_case=kind == "largest, lower-cased")
    torch.manual_seed(1)
    more: dict[str, list[torch.nn.Module]] = {
        "normalised": [Pooling(WIDTH, "mean"), Normalize()],
        "largest, lower-cased": [Pooling(WIDTH, "max")],
        "first token, dense": [Pooling(WIDTH, "cls"), Dense(WIDTH, 6), Normalize()],
    }
    return SentenceTransformer(modules=[reader, *more[kind]], device="cpu")


@pytest.mark.parametrize("kind", ["normalised", "largest, lower-cased", "first token, dense"])
def test_the_exported_encoder_gives_the_vectors_of_the_original(
    transformer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    original = model(transformer, kind)
    expected_NE = original.encode(TEXTS)
    monkeypatch.setattr(text_export, "load_text_encoder", lambda _name: original)
    assert write_text_encoder("any", TEXTS, tmp_path) == ""
    exported_NE = TextEncoder(tmp_path / TEXT_ENCODER_GRAPH, tmp_path / TEXT_TOKENIZER).encode(TEXTS)
    assert exported_NE == pytest.approx(expected_NE, abs=1e-4)
    is_lowered = "lower-cased" in kind
    assert (exported_NE[1] == pytest.approx(exported_NE[2], abs=1e-4)) == is_lowered


def worse(original: SentenceTransformer) -> Callable[..., np.ndarray]:
    encode = original.encode
    return lambda texts, **fields: encode(texts, **fields) + np.float32(0.5)


def test_an_export_that_gives_other_vectors_is_not_published(
    transformer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = model(transformer, "normalised")
    monkeypatch.setattr(original, "encode", worse(original))
    monkeypatch.setattr(text_export, "load_text_encoder", lambda _name: original)
    assert "must give the same vectors after its export" in write_text_encoder("any", [], tmp_path)
    assert list(tmp_path.iterdir()) == []


class Lengths:
    def encode(self, sentences: list[str], *, batch_size: int, show_progress_bar: bool) -> np.ndarray:
        return np.array([[len(text)] for text in sentences], dtype=np.float32)


def test_an_encoder_of_the_users_own_is_stated_and_not_published(tmp_path: Path) -> None:
    reason = write_text_encoder(f"{__name__}:Lengths", list(SAMPLES), tmp_path)
    assert reason == f"the text encoder '{__name__}:Lengths' is not a sentence-transformers model with a fast tokenizer"
    assert list(tmp_path.iterdir()) == []
