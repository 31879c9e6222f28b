from pathlib import Path

import numpy as np
import pytest

from benchmarks.search import DefaultModel, Ours, measure, random_histories
from benchmarks.support.synthetic import CODEBOOK_SIZE
from rqrec.models.trie.trie import SemanticIdTrie


@pytest.mark.usefixtures("no_export")
def test_a_short_run_gives_every_figure() -> None:
    rows, figures = measure(num_items=200, beam_widths=(12, 15), batches=(1, 2), rounds=1, at_least_s=0.0)
    assert [row[:2] for row in rows] == [(12, 1), (12, 2), (15, 1), (15, 2)]
    assert all(own_ms > 0 and peer_ms > 0 for _, _, own_ms, peer_ms in rows)
    assert {"latency_speedup", "throughput_speedup", "ms_per_request_b64", "floor_ratio"} <= set(figures)
    assert all(np.isfinite(value) and value > 0 for value in figures.values())


@pytest.mark.parametrize(("children", "decoded_levels"), [((10, 5, 3, 2), 3), ((10, 30, 1, 1), 1)])
def test_matrix_products_are_counted_as_by_hand(
    default_model: DefaultModel, tmp_path: Path, children: tuple[int, ...], decoded_levels: int
) -> None:
    """Counts a catalogue of 300 items, whose beams are open until the last level, or closed after two."""
    grid = np.meshgrid(*map(np.arange, children), indexing="ij")
    trie = SemanticIdTrie.build(np.stack([axis.ravel() for axis in grid], axis=1), codebook_size=CODEBOOK_SIZE)
    ours = Ours(default_model, trie, threads=1)
    config = ours.model.config
    history_BT = random_histories(np.random.default_rng(0), 3, 300)
    users, length, beams = *history_BT.shape, 7
    width, ff = config.width, config.ff_width
    assert (config.encoder_layers, config.decoder_layers, config.num_levels) == (2, 1, 4)
    block = 4 * width * width + 2 * width * ff  # multiplications a row: projections, and the feed-forward net
    attention = 2 * length * width
    encoder = length * (block + attention) + length * 2 * width * width + (block - 2 * width * width) + attention
    first = block + width * CODEBOOK_SIZE
    later = block - 3 * width * width + width * CODEBOOK_SIZE  # the first block's projections are looked up
    ranking = width * width + beams * config.vector_width
    narrow = config.part_widths[1]
    feed_forward = 8 * narrow**2
    assert config.short_term is not None
    assert config.short_term.layers == 2
    short_term = length * (length * narrow + feed_forward) + feed_forward  # the last block computes one position
    expected = 2 * users * (encoder + short_term + first + decoded_levels * beams * later + ranking)
    counted = ours.matrix_product_flops(history_BT, beam_width=beams, folder=tmp_path)
    assert counted == pytest.approx(expected, rel=0.01)
