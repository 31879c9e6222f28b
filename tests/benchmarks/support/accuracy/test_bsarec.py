from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from benchmarks.support.accuracy.bsarec import (
    BsaRec,
    BsaRecBlock,
    BsaRecSettings,
    FrequencyFilter,
    Prefixes,
    fit_bsarec,
)
from benchmarks.support.accuracy.networks import rank_by_network
from rqrec.training.data.sources import load_dataset
from rqrec.training.data.splits import Sequences, user_sequences
from rqrec.training.data.splitting.leave_one_out import leave_one_out


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
    sequences = Sequences.from_arrays(np.array([5, 6, 7, 8, 1, 2], dtype=np.int32), np.array([0, 4, 6]))
    prefixes = Prefixes(sequences, BsaRecSettings(max_history=2, batch_size=4))
    for epoch in range(2):
        batches = list(prefixes.epoch(epoch))
        assert len(batches) == prefixes.num_batches(epoch) == 2
        samples = [
            (*history, target)
            for batch in batches
            for history, target in zip(batch.history_BT.tolist(), batch.targets_B.tolist(), strict=True)
        ]
        assert sorted(samples) == [(-1, -1, 1), (-1, -1, 5), (-1, 1, 2), (-1, 5, 6), (5, 6, 7), (6, 7, 8)]


def test_low_frequencies_of_the_window_pass_and_high_ones_are_scaled() -> None:
    frequency_filter = FrequencyFilter(BsaRecSettings(width=3))
    angle_T = 2 * torch.pi * torch.arange(50) / 50
    for frequency in range(26):
        x_BTD = torch.cos(frequency * angle_T)[None, :, None].expand(2, 50, 3)
        scale_D = 1.0 if frequency < 3 else frequency_filter.root_scale**2
        assert torch.allclose(frequency_filter(x_BTD, 0), scale_D * x_BTD, atol=1e-4)


def test_the_last_position_alone_has_the_state_that_it_has_among_all() -> None:
    block = BsaRecBlock(BsaRecSettings(width=6, num_heads=2, max_history=7)).eval()
    x_BTD, bias_B1TT = torch.randn(3, 7, 6), torch.randn(3, 1, 7, 7)
    assert torch.allclose(block(x_BTD, bias_B1TT, 6), block(x_BTD, bias_B1TT)[:, -1:], atol=1e-6)


def test_a_short_history_is_padded_at_its_front() -> None:
    model = BsaRec(9, BsaRecSettings(width=4)).eval()
    padded_BT = torch.tensor([[-1] * 48 + [7, 3]])
    logits_BN = model(torch.tensor([[7, 3]]))
    assert logits_BN.shape == (1, 9)
    assert torch.equal(logits_BN, model(padded_BT))


@pytest.mark.parametrize(("filter_share", "is_read"), [(0.0, False), (1.0, True)])
def test_the_filter_reads_the_padding_and_attention_does_not(filter_share: float, is_read: bool) -> None:
    torch.manual_seed(0)
    model = BsaRec(9, BsaRecSettings(width=4, filter_share=filter_share)).eval()
    history_BT = torch.tensor([[7, 3]])
    before_BN = model(history_BT)
    with torch.no_grad():
        model.positions.weight[:48] = torch.randn(48, 4)
    assert torch.allclose(model(history_BT), before_BN, atol=1e-6) == (not is_read)


def test_attention_sees_no_later_item() -> None:
    model = BsaRec(9, BsaRecSettings(width=4, layers=2, filter_share=0.0)).eval()
    states = []
    model.blocks[0].register_forward_hook(lambda _module, _inputs, x_BTD: states.append(x_BTD))
    model(torch.tensor([[7, 3], [7, 5]]))
    assert torch.equal(states[0][0, 48], states[0][1, 48])
    assert not torch.allclose(states[0][0, 49], states[0][1, 49])


def test_the_padding_has_no_embedding_and_learns_none() -> None:
    model = BsaRec(9, BsaRecSettings(width=4))
    F.cross_entropy(model(torch.tensor([[-1, -1], [7, 3]])), torch.tensor([1, 2])).backward()
    gradient = model.items.weight.grad
    assert gradient is not None
    assert torch.isfinite(gradient).all()
    assert not model.items.weight[0].any()
    assert not gradient[0].any()
    assert gradient[1:].any()
