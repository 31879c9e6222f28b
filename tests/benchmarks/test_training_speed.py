from pathlib import Path

from benchmarks.support.training_data import TrainingData
from benchmarks.training_speed import measure, retriever_training, rqvae_training
from tests.conftest import small_settings


def test_measures_networks_on_data_of_the_releases_shape(tmp_path: Path) -> None:
    data = TrainingData.like_ml25m(users=80, movies=400, ratings=4_000)
    assert abs(len(data.train.items_I) - 4_000) < 80
    assert data.train.lengths_U.min() >= 20
    assert len(data.features_NE) == data.trie.num_leaves == 400
    settings = small_settings(tmp_path, "RqVaeSettings.batch_size = 64")
    for training in (rqvae_training(data, settings), retriever_training(data, settings)):
        speed = measure(training, steps=2)
        assert speed.items_per_s > 0
        assert speed.whole_h > 0
        assert 0 < speed.matrix_share < 1
