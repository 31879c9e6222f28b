"""The tables of the evaluation."""

import pytest

from rqrec.training.evaluation.report import RQREC, TOKENIZER, results_table


@pytest.mark.parametrize("count", [0, 1, 299])
def test_counts_are_whole_numbers_and_other_figures_are_not(count: int) -> None:
    results = {
        RQREC: {"users": float(count), "cold_users": float(count), "recall@10": 1.0, "mrr@20": 0.0},
        TOKENIZER: {"dead_codes_0": float(count), "perplexity_0": 2.0},
    }
    ranking, tokenizer = results_table(results)
    assert list(ranking.columns[1].cells) == [str(count), str(count), "1.0000", "0.0000"]
    assert list(tokenizer.columns[1].cells) == [str(count), "2.0000"]
