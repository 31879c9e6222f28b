"""After the evaluation, the published model learns from all interactions, the held-out ones included."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rqrec.models.bundle.bundle import Bundle, read_bundle
from rqrec.models.bundle.golden import Golden, golden_faults
from rqrec.models.bundle.layout import MANIFEST, RETRIEVER_WEIGHTS
from rqrec.models.search.recommender import Recommender
from rqrec.training.data.prepare import load_prepared, load_split
from rqrec.training.data.splits import Sequences, user_sequences
from rqrec.training.evaluate import load_results
from rqrec.training.evaluation.baselines import item_popularity
from rqrec.training.features.features import load_features
from rqrec.training.history.transitions import fit_transitions
from rqrec.training.run import Run, RunSettings
from rqrec.training.runtime.loop import TrainingInterrupted
from rqrec.training.runtime.workspace import Stage, Workspace
from rqrec.training.serving_recommender import load_recommender
from rqrec.training.train_decoder import load_history_bonus, load_retriever, load_transitions
from rqrec.training.train_short_term import load_short_term

Configure = Callable[..., RunSettings]
REFITS = ("short_term_refit", "decoder_refit")
STEPS_OF_SHORT_TERM = 7  # of its one epoch in the refit


@pytest.fixture(scope="module")
def refit(trained: Run) -> Stage:
    assert trained.refit is not None
    return trained.refit


@pytest.fixture(scope="module")
def everything(trained: Run) -> Sequences:
    return user_sequences(load_prepared(trained.data))


def copied(run: Run, folder: Path, settings: RunSettings | None = None) -> Run:
    """The same run in a workspace of its own, with the stages that are finished but without refit and bundle."""
    unwanted = shutil.ignore_patterns("bundles", *REFITS)
    root = Path(shutil.copytree(run.workspace.root, folder / "work", symlinks=True, ignore=unwanted))
    return Run(Workspace(root, run.workspace.data_dir), settings or run.settings)


def recommender(run: Run, decoder: Stage, learnt: Sequences) -> Recommender:
    features = load_features(run.features)
    return load_recommender(run.tokens, decoder, features, item_popularity(learnt, len(features.features_NE)))


def test_the_published_model_has_learnt_from_what_was_held_out(
    trained: Run, refit: Stage, bundle: Bundle, everything: Sequences
) -> None:
    published, evaluated = load_file(bundle.path / RETRIEVER_WEIGHTS), load_retriever(trained.decoder).state_dict()
    assert all(torch.equal(published[name], weight) for name, weight in load_retriever(refit).state_dict().items())
    moved = {name for name, weight in evaluated.items() if not torch.equal(published[name], weight)}
    assert {"short_term.items.weight"} < moved
    assert bundle.learned.popularity_R.tolist() == item_popularity(everything, len(bundle.items)).tolist()
    assert bundle.learned.popularity_R.sum() == load_split(trained.data).train.items_I.size + 2 * 160


def test_the_manifest_says_that_its_metrics_are_of_the_model_before(trained: Run, bundle: Bundle) -> None:
    assert bundle.manifest.refit
    assert bundle.manifest.metrics == load_results(trained.evaluation)


def test_transitions_are_counted_on_everything_and_the_bonus_stays(
    trained: Run, refit: Stage, everything: Sequences
) -> None:
    expected = fit_transitions(everything, load_features(trained.features).features_NE)
    assert load_transitions(refit).items_P.tolist() == expected.items_P.tolist()
    assert load_transitions(refit).items_P.tolist() != load_transitions(trained.decoder).items_P.tolist()
    assert load_history_bonus(refit) == load_history_bonus(trained.decoder)


def test_the_golden_answers_are_those_of_the_refitted_model(
    trained: Run, refit: Stage, bundle: Bundle, everything: Sequences
) -> None:
    golden = [Golden.from_json(one) for one in bundle.manifest.golden]
    assert golden_faults(recommender(trained, refit, everything), golden) == []
    assert golden_faults(recommender(trained, trained.decoder, load_split(trained.data).train), golden) != []


@pytest.mark.usefixtures("without_search_graph")
def test_without_refit_the_evaluated_model_is_published(trained: Run, configure: Configure, tmp_path: Path) -> None:
    run = copied(trained, tmp_path, configure("PublishSettings.refit = False"))
    bundle = read_bundle(run.bundle)
    weights = load_file(bundle.path / RETRIEVER_WEIGHTS)
    assert all(torch.equal(weights[name], one) for name, one in load_retriever(run.decoder).state_dict().items())
    train = load_split(run.data).train
    assert bundle.learned.popularity_R.tolist() == item_popularity(train, len(bundle.items)).tolist()
    assert "refit" not in json.loads((bundle.path / MANIFEST).read_text(encoding="utf-8"))
    assert not bundle.manifest.refit
    assert run.refit is None
    assert not any((run.workspace.root / name).exists() for name in REFITS)


@pytest.mark.usefixtures("without_search_graph")
def test_where_nothing_is_held_out_there_is_no_refit(tmp_path: Path, configure: Configure) -> None:
    short = "DecoderSettings.epochs = 1", "ShortTermSettings.epochs = 1", "RqVaeSettings.steps = 5"
    run = Run(Workspace(tmp_path / "work", tmp_path), configure("SplitSettings.held_out_items = 0", *short))
    assert run.refit is None
    assert not read_bundle(run.bundle).manifest.refit


@pytest.mark.parametrize("steps", [3, STEPS_OF_SHORT_TERM + 5], ids=REFITS)
def test_a_resumed_refit_ends_with_the_weights_of_an_uninterrupted_one(
    trained: Run, refit: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    run, steps_left = copied(trained, tmp_path), iter(range(steps))
    with monkeypatch.context() as patched, pytest.raises(TrainingInterrupted):
        patched.setattr("rqrec.training.runtime.loop.any_rank", lambda _: next(steps_left, None) is None)
        _ = run.refit
    assert [*run.workspace.root.glob("*_refit-checkpoints/*/step-*")]
    resumed = run.refit
    assert resumed is not None
    weights = load_retriever(resumed).state_dict()
    assert all(torch.equal(weights[name], weight) for name, weight in load_retriever(refit).state_dict().items())
    assert not [*run.workspace.root.glob("*_refit-checkpoints")]


def test_the_retriever_gets_the_refitted_short_term_encoder(trained: Run, refit: Stage) -> None:
    (folder,) = trained.workspace.root.glob("short_term_refit")
    expected, held = load_short_term(Stage(folder, "")), load_retriever(refit).short_term
    assert held is not None
    weights = held.state_dict()
    assert all(torch.equal(weights[name], weight) for name, weight in expected.state_dict().items())
