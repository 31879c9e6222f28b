from pathlib import Path

import numpy as np

from benchmarks.support.accuracy.networks import rank_by_network
from benchmarks.support.accuracy.sasrec import SasRecSettings, fit_sasrec
from rqrec.training.data.sources import load_dataset
from rqrec.training.data.splits import user_sequences
from rqrec.training.data.splitting.leave_one_out import leave_one_out


def test_sasrec_learns_what_users_like(shop: Path, tmp_path: Path) -> None:
    split = leave_one_out(user_sequences(load_dataset(str(shop), data_dir=tmp_path)))
    settings = SasRecSettings(width=16, dropout=0.1, epochs=12, batch_size=16, learning_rate=1e-2)
    model = fit_sasrec(split, 64, settings, tmp_path / "checkpoints", tmp_path / "tensorboard")
    lists_UK = rank_by_network(model.score, split.test, k=3, max_history=settings.max_history)
    histories = split.test.histories
    own = [np.isin(lists_UK[user], histories[user]).any() for user in range(len(histories))]
    assert not any(own)
    same_genre = [(lists_UK[user] // 16 == histories[user][-1] // 16).mean() for user in range(len(histories))]
    assert np.mean(same_genre) > 0.8
