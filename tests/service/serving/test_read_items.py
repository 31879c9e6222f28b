"""How much of a history a search reads."""

import numpy as np
import pytest

from rqrec.models.bundle.bundle import Bundle
from rqrec.service.serving.loading import LoadOptions, load_snapshot
from rqrec.service.settings import Backend, Device, Precision
from rqrec.service.telemetry import Metrics


@pytest.mark.parametrize("read_items", [3, 1000])
def test_a_search_reads_the_last_items_that_the_setting_and_the_model_allow(bundle: Bundle, read_items: int) -> None:
    options = LoadOptions(
        Backend.ONNX, Device.CPU, Precision.FP32, beam_width=10, read_items=read_items, filter_cache_bytes=1 << 20
    )
    recommender = load_snapshot(bundle, options, Metrics()).recommender
    read = min(read_items, bundle.manifest.max_history)
    assert recommender.max_history == read
    history = np.arange(30) % recommender.trie.num_leaves
    whole, cut = recommender.recommend([history, history[-read:]], k=5, beam_width=10)
    assert np.array_equal(whole.leaves_K, cut.leaves_K)
    assert np.allclose(whole.scores_K, cut.scores_K)
