import os

import numpy as np
import pytest
import torch

from rqrec.training.features.text import TEXTS_OF_A_PART, encode_texts


def test_similar_titles_lie_close() -> None:
    titles = ["Star Trek First Contact", "Star Trek Generations", "Cinderella and the Mouse", "Cinderella Returns"]
    vectors = encode_texts([*titles, ""], encoder="lsa", lsa_dim=3, seed=0)
    unit = vectors[:4] / np.linalg.norm(vectors[:4], axis=1, keepdims=True)
    similarity = unit @ unit.T
    assert similarity[0, 1] > similarity[0, 2]
    assert similarity[2, 3] > similarity[1, 3]
    assert not vectors[4].any()


def test_texts_without_a_common_term_give_an_empty_column() -> None:
    assert not encode_texts(["abc", "xyz"], encoder="lsa", lsa_dim=3, seed=0).any()


def test_another_encoder_may_be_named_and_is_loaded_without_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_DISABLE_PROGRESS_BARS", raising=False)
    vectors = encode_texts(["a", "bcd"], encoder=f"{__name__}:LengthEncoder", lsa_dim=3, seed=0)
    assert vectors.tolist() == [[1.0], [3.0]]


def test_the_vectors_of_many_texts_are_in_the_order_of_the_texts() -> None:
    texts = ["a" * (number % 7) for number in range(TEXTS_OF_A_PART + 5)]
    vectors = encode_texts(texts, encoder=f"{__name__}:LengthEncoder", lsa_dim=3, seed=0)
    assert vectors[:, 0].tolist() == [len(text) for text in texts]


def test_texts_are_counted_while_a_part_is_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    monkeypatch.setattr("rqrec.training.features.text.advance_innermost", counted.append)
    encode_texts(["a"] * 5, encoder=f"{__name__}:PairEncoder", lsa_dim=3, seed=0)
    assert counted == [2, 2, 1]


class PairEncoder(torch.nn.Sequential):
    """An encoder of the form of sentence-transformers: its first module takes the token ids of a batch."""

    def __init__(self) -> None:
        super().__init__(torch.nn.Identity())

    def encode(self, sentences: list[str], *, batch_size: int, show_progress_bar: bool) -> np.ndarray:
        for begin in range(0, len(sentences), 2):
            self({"input_ids": sentences[begin : begin + 2]})
        return np.ones((len(sentences), 1))


class LengthEncoder:
    def __init__(self) -> None:
        # Hugging Face's libraries read it when they are imported; their bars have control characters.
        assert os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] == "1"

    def encode(self, sentences: list[str], *, batch_size: int, show_progress_bar: bool) -> np.ndarray:
        return np.array([[len(sentence)] for sentence in sentences])


def test_a_missing_encoder_says_what_to_install() -> None:
    with pytest.raises(ImportError, match="pip install nowhere"):
        encode_texts(["a"], encoder="nowhere:load", lsa_dim=3, seed=0)
