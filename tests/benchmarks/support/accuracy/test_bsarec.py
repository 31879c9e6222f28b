from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.support.accuracy.bsarec import BsaRec, BsaRecSettings, FrequencyFilter, Prefixes, fit_bsarec
from benchmarks.support.accuracy.networks import rank_by_network
from rqrec.training.data.sources import load_dataset
from rqrec.training.data.splits import Sequences, leave_one_out, user_sequences


def test_bsarec_learns_what_users_like(shop: Path, tmp_path: Path) -> None:
    split = leave_one_out(user_sequences(load_dataset(str(shop), data_dir=tmp_path)))
    settings = BsaRecSettings(width=16, dropout=0.1, epochs=6, batch_size=32, learning_rate=1e-2)
    model = fit_bsarec(split, 64, settings, tmp_path / "checkpoints", tmp_path / "tensorboard")
    lists_UK = rank_by_network(model, split.test, k=3, max_history=settings.max_history)
    histories = split.test.histories
    assert not any(np.isin(lists_UK[user], histories[user]).any() for user in range(len(histories)))
    same_genre = [(lists_UK[user] // 16 == histories[user][-1] // 16).mean() for user in range(len(histories))]
    assert np.mean(same_genre) > 0.8


def test_every_prefix_is_a_sample_once_an_epoch() -> None:
    sequences = Sequences(np.array([5, 6, 7, 8, 1, 2], dtype=np.int32), np.array([0, 4, 6]))
    prefixes = Prefixes(sequences, BsaRecSettings(max_history=2, batch_size=2))
    for epoch in range(2):
        batches = list(prefixes.epoch(epoch))
        assert len(batches) == prefixes.num_batches(epoch) == 2
        samples = [
            (tuple(history), target)
            for batch in batches
            for history, target in zip(batch.history_BT.tolist(), batch.targets_B.tolist(), strict=True)
        ]
        assert sorted(samples) == [((1,), 2), ((5,), 6), ((5, 6), 7), ((6, 7), 8)]


@pytest.mark.parametrize("length", [1, 2, 5, 8])
def test_low_frequencies_pass_and_high_ones_are_scaled(length: int) -> None:
    frequency_filter = FrequencyFilter(BsaRecSettings(width=3, low_frequencies=1))  # the mean alone is low
    x_BTD = torch.randn(4, length, 3)
    mean_B1D = x_BTD.mean(1, keepdim=True)
    expected_BTD = mean_B1D + frequency_filter.root_scale**2 * (x_BTD - mean_B1D)
    assert torch.allclose(frequency_filter(x_BTD), expected_BTD, atol=1e-5)


def test_positions_are_counted_from_the_end() -> None:
    torch.manual_seed(0)
    model = BsaRec(9, BsaRecSettings(width=4, layers=1, low_frequencies=9, filter_share=1.0)).eval()
    with torch.no_grad():
        short, long = model(torch.tensor([[3]])), model(torch.tensor([[7, 3]]))
        model.blocks[0].filter.root_scale.fill_(1.0)  # type: ignore[union-attr, operator]
        assert torch.allclose(model(torch.tensor([[3]])), model(torch.tensor([[7, 3]])), atol=1e-5)
    assert short.shape == long.shape == (1, 9)
