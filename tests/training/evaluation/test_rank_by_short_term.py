import numpy as np
import pytest
import torch
from torch.nn import functional as F

from rqrec.models.retriever.config import ShortTermConfig
from rqrec.models.retriever.short_term_encoder import ShortTermEncoder
from rqrec.training.data.splits import Holdout, Sequences
from rqrec.training.evaluation.rank_by_short_term import rank_by_short_term

ITEMS, DISLIKE, LONGEST = 6, 1, 3
HISTORIES = ([4, 1, 0, 2], [3])  # the first is longer than the encoder reads


@pytest.fixture
def encoder() -> ShortTermEncoder:
    torch.manual_seed(0)
    config = ShortTermConfig(
        num_items=ITEMS, width=4, layers=1, taps=2, filters=2, dropout=0.0, max_history=LONGEST, temperature=0.1
    )
    encoder = ShortTermEncoder(config).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.normal_()
    return encoder


def holdout(types: list[int] | None = None) -> Holdout:
    items_I = np.concatenate(HISTORIES).astype(np.int32)
    types_I = None if types is None else np.array(types, dtype=np.int8)
    offsets_U = np.cumsum([0, *map(len, HISTORIES)])
    return Holdout(Sequences.from_arrays(items_I, offsets_U, types_I=types_I), np.zeros(len(HISTORIES), dtype=np.int32))


def ranked(encoder: ShortTermEncoder, history: list[int]) -> list[int]:
    """All items by their cosine with the state, best first."""
    with torch.no_grad():
        state_F = encoder.encode(encoder.items(torch.tensor([history[-LONGEST:]])))[0, -1]
        cosines_N = F.cosine_similarity(state_F, encoder.items.weight, dim=-1)
    return [int(item) for item in cosines_N.argsort(descending=True)]


def test_lists_have_the_most_relevant_items_outside_the_history(encoder: ShortTermEncoder) -> None:
    lists_UK = rank_by_short_term(encoder, holdout(), k=4)
    for history, found in zip(HISTORIES, lists_UK.tolist(), strict=True):
        expected = [item for item in ranked(encoder, history) if item not in history][:4]
        assert found == expected + [-1] * (4 - len(expected))


def test_items_of_the_history_may_be_recommended_except_dislikes(encoder: ShortTermEncoder) -> None:
    held = holdout([0, DISLIKE, 0, 0, 0])
    lists_UK = rank_by_short_term(encoder, held, k=9, exclude_history=False, disliked_types=(DISLIKE,))
    first, second = (ranked(encoder, history) for history in HISTORIES)
    assert lists_UK[0].tolist() == [item for item in first if item != 1] + [-1] * 4
    assert lists_UK[1].tolist() == [*second, -1, -1, -1]
