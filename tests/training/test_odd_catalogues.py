"""Small and odd catalogues train, are evaluated and are published with the default sizes of codebooks.

Warnings are errors in all tests, so no numeric warning reaches the user either.
"""

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rqrec.models.bundle.bundle import read_bundle
from rqrec.models.items.item_tokenizer import ItemTokenizer
from rqrec.training.data.dataset import DataError
from rqrec.training.evaluate import load_results
from rqrec.training.evaluation.report import DATA, RQREC, TOKENIZER, results_table
from rqrec.training.features.features import load_features
from rqrec.training.run import Run
from rqrec.training.runtime.workspace import Workspace
from rqrec.training.tokenize_items import load_semantic_ids
from tests.conftest import small_settings

DEFAULT_CODEBOOKS = ("RqVaeSettings.codebook_size = 'auto'", "RqVaeSettings.num_levels = 'auto'")
Histories = list[list[int]]
Attribute = Callable[[int], object]


def titled(item: int) -> str:
    return f"{('red', 'blue', 'green')[item % 3]} {('shoe', 'hat')[item % 2]} {item}"


def random_histories(items: int, users: int, length: int) -> Histories:
    rng = random.Random(0)
    return [rng.sample(range(items), length) for _ in range(users)]


def run_on(folder: Path, items: int, attribute: Attribute | None, histories: Histories, *bindings: str) -> Run:
    source = folder / "shop"
    source.mkdir()
    header = "item_id" if attribute is None else "item_id,attribute"
    rows = [f"i{item}" if attribute is None else f"i{item},{attribute(item)}" for item in range(items)]
    (source / "items.csv").write_text("\n".join([header, *rows]))
    events = [f"u{user},i{item},{t}" for user, history in enumerate(histories) for t, item in enumerate(history)]
    (source / "interactions.csv").write_text("\n".join(["user_id,item_id,timestamp", *events]))
    short = "DecoderSettings.epochs = 1", "RqVaeSettings.steps = 100"
    settings = small_settings(source, *DEFAULT_CODEBOOKS, *short, *bindings)
    return Run(Workspace(folder / "work", folder), settings)


CATALOGUES: dict[str, tuple[int, Attribute | None, Histories]] = {
    "two items": (2, titled, [[0, 1, 0, 1], [1, 0, 1]]),
    "two items alike": (2, lambda _: "one and the same", [[0, 1, 0, 1], [1, 0, 1]]),
    "one user": (5, titled, [[0, 1, 2, 3, 4]]),
    "fewer items than a list": (7, titled, random_histories(7, 20, 5)),
    "identical items": (40, lambda _: "one and the same", random_histories(40, 30, 4)),
    "one category": (40, lambda _: "shoes", random_histories(40, 30, 4)),
    "one price": (40, lambda _: 19.99, random_histories(40, 30, 4)),
    "one price but for an outlier": (40, lambda item: 19.99 if item else 1e6, random_histories(40, 30, 4)),
    "ids only": (40, None, random_histories(40, 30, 5)),
    "ids only, most never beside another": (
        300,
        None,
        [*([item] for item in range(300)), *random_histories(20, 20, 5)],
    ),
    "300 items": (300, titled, random_histories(300, 100, 6)),
}


@pytest.mark.parametrize("name", CATALOGUES)
def test_odd_catalogues_train_and_are_evaluated(name: str, tmp_path: Path) -> None:
    items, attribute, histories = CATALOGUES[name]
    run = run_on(tmp_path, items, attribute, histories)
    assert 0 <= load_results(run.evaluation)[RQREC]["recall@10"] <= 1
    assert len(np.unique(load_semantic_ids(run.tokens).codes_NL, axis=0)) == items
    assert np.isfinite(load_features(run.features).features_NE).all()


def test_users_too_few_to_evaluate_give_a_model_without_evaluation(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = run_on(tmp_path, 60, titled, random_histories(60, 60, 2))
    results = load_results(run.evaluation)
    assert set(results) == {DATA, TOKENIZER}
    assert [table.title for table in results_table(results)] == ["Semantic IDs"]
    assert (
        "the model is not evaluated: no user has items enough to be held out (SplitSettings.held_out_items)"
        in caplog.text
    )


@pytest.mark.usefixtures("without_search_graph")
def test_users_of_two_interactions_are_evaluated_where_a_setting_holds_out_less(tmp_path: Path) -> None:
    less = "SplitSettings.held_out_items = 1", "SplitSettings.held_out_users = 0.25"
    run = run_on(tmp_path, 60, titled, random_histories(60, 60, 2), *less)
    assert load_results(run.evaluation)[RQREC]["users"] == 15
    assert read_bundle(run.bundle).manifest.metrics[RQREC]["users"] == 15


@pytest.mark.usefixtures("without_search_graph")
def test_items_that_are_never_beside_another_are_published(tmp_path: Path) -> None:
    run = run_on(tmp_path, 30, None, [[item, item, item] for item in range(30)])
    assert set(load_results(run.evaluation)) == {DATA, TOKENIZER}
    bundle = read_bundle(run.bundle)
    assert bundle.manifest.metrics == load_results(run.evaluation)
    tokenizer = ItemTokenizer(bundle)
    features_1E = tokenizer.features(bundle.items[:1], None)
    assert tokenizer.codes(features_1E).shape == (1, load_semantic_ids(run.tokens).codes_NL.shape[1] - 1)
    assert np.isfinite(tokenizer.vectors(features_1E)).all()


@pytest.mark.parametrize(
    ("items", "histories", "message"),
    [
        (1, [[0, 0, 0]], "a catalogue needs at least 2 items, got 1: add items"),
        (20, [[item] for item in range(20)], "at least one user with 2 interactions, but every user has 1"),
    ],
)
def test_nothing_to_learn_from_is_refused_before_anything_is_trained(
    items: int, histories: Histories, message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        _ = run_on(tmp_path, items, titled, histories).data
