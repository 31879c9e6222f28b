import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks.feedback import BOTH, NONE, WEIGHTS, measure
from tests.conftest import SMALL_CONFIG, USERS


def test_a_short_run_compares_the_variants(shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "rated"
    source.mkdir()
    (source / "movies.csv").write_bytes((shop / "movies.csv").read_bytes())
    ratings = pl.read_csv(shop / "ratings.csv")
    stars = np.random.default_rng(0).choice([1.0, 3.0, 5.0], len(ratings), p=[0.2, 0.3, 0.5])
    ratings.with_columns(rating=pl.Series(stars)).write_csv(source / "ratings.csv")
    measure(str(source), (NONE, WEIGHTS, BOTH), (0,), [*SMALL_CONFIG, "DecoderSettings.epochs = 2"], tmp_path)
    results = json.loads((tmp_path / "results.json").read_text())
    everyone = f"test: all, {USERS} users"
    assert set(results[everyone]) == {NONE, WEIGHTS, BOTH}
    assert set(results[everyone][BOTH]) == {"recall@10", "ndcg@10"}
    assert results[everyone][NONE]["recall@10"][1:] == [0, 0]  # the difference to itself
    mean, low, high = results[everyone][BOTH]["recall@10"]
    assert low <= mean - results[everyone][NONE]["recall@10"][0] <= high
    unknown = next(question for question in results if question.startswith("test, types unknown: wanted"))
    assert set(results[unknown]) == {BOTH}
    assert "dislikes and types" in capsys.readouterr().out
