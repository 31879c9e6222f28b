"""Ratings and event types from the files to the bundle."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from rqrec.training.data.dataset import DataError
from rqrec.training.data.prepare import load_prepared
from rqrec.training.evaluate import load_results
from rqrec.training.run import Run
from rqrec.training.runtime.workspace import Workspace
from rqrec.training.train_decoder import load_retriever
from tests.conftest import small_settings

ITEMS, USERS = 6, 5


def run_on(
    folder: Path, rating: Callable[[int, int], object], event: Callable[[int, int], object], *bindings: str
) -> Run:
    """A run on five users who met the first five of six items."""
    source = folder / "shop"
    source.mkdir(parents=True)
    (source / "items.csv").write_text("item_id,title\n" + "".join(f"i{i},thing {i}\n" for i in range(ITEMS)))
    rows = [f"u{u},i{t},{t},{rating(u, t)},{event(u, t)}\n" for u in range(USERS) for t in range(ITEMS - 1)]
    (source / "interactions.csv").write_text("user_id,item_id,timestamp,rating,event_type\n" + "".join(rows))
    settings = small_settings(source, "DecoderSettings.epochs = 1", *bindings)
    return Run(Workspace(folder / "work", folder), settings)


def test_stars_and_removals_are_no_wishes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The same events are other data if some of them are dislikes, and the run says so before it trains."""
    caplog.set_level(logging.INFO)
    liked = run_on(tmp_path / "liked", lambda _u, _t: 5, lambda _u, _t: "purchase")
    assert load_prepared(liked.data).event_types == ()
    assert "column rating is not used, because all its values are 5" in caplog.text
    assert "column event_type is not used, because all its values are 'purchase'" in caplog.text
    removed = run_on(tmp_path / "removed", lambda _u, _t: 5, lambda _u, t: "remove_from_cart" if t == 2 else "purchase")
    rated = run_on(tmp_path / "rated", lambda _u, t: 1 if t == 2 else 5, lambda _u, _t: "purchase")
    for run in (removed, rated):
        assert load_prepared(run.data).fingerprint != load_prepared(liked.data).fingerprint
        assert load_prepared(run.data).interactions["weight"].to_list() == [1, 1, 0, 1, 1] * USERS
    assert "'remove_from_cart' is a dislike" in caplog.text
    assert "5 of 25 are dislikes (below 3" in caplog.text
    disliked = run_on(tmp_path / "disliked", lambda _u, _t: 1, lambda _u, _t: "remove_from_cart")
    with pytest.raises(DataError, match="training needs interactions that are no dislikes, but all 25 are"):
        disliked.data.path  # noqa: B018


@pytest.mark.parametrize("typed", [True, False])
def test_the_retriever_reads_types_unless_a_setting_says_no(tmp_path: Path, typed: bool) -> None:
    run = run_on(
        tmp_path,
        lambda _u, t: 1 if t == 2 else 5,
        lambda _u, _t: "purchase",
        f"DecoderSettings.typed_history = {typed}",
    )
    retriever = load_retriever(run.decoder)
    assert retriever.config.num_event_types == (2 if typed else 0)
    assert (retriever.history.types is not None) is typed
    results = load_results(run.evaluation)
    assert results["rqrec"]["users"] == USERS
