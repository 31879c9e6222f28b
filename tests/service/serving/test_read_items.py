"""How much of a history a search reads."""

from typing import Any

import numpy as np
import pytest

from rqrec.models.bundle.bundle import Bundle
from rqrec.models.search.eligibility import Eligibility
from rqrec.service.serving.loading import LoadOptions, load_search_engine, load_snapshot
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


def test_a_gpu_search_is_padded_to_the_items_that_are_read(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    options = LoadOptions(
        Backend.TORCH, Device.CPU, Precision.FP32, beam_width=10, read_items=3, filter_cache_bytes=1 << 20
    )
    trie = bundle.learned.trie
    engine = load_search_engine(bundle, trie, bundle.learned.vectors.rows, options)
    shapes = []

    class Graphs:
        """In place of the CUDA graphs: keeps the shape of the histories, and goes no further."""

        def run(self, request: dict[str, Any], *_: Any, **__: Any) -> None:
            shapes.append(request["history_BT"].shape)
            raise NotImplementedError

    monkeypatch.setattr(engine, "_graphs", Graphs())
    for length in (1, 3):
        with pytest.raises(NotImplementedError):
            engine.search(
                np.zeros((1, length), dtype=np.int64),
                np.array([length]),
                np.full((1, 1), -1),
                Eligibility.everything(trie),
                beam_width=10,
            )
    assert shapes == [(1, 3), (1, 3)]
