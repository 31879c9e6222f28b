from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from rqrec.models.retriever.short_term_encoder import ShortTermEncoder
from rqrec.training.data.splits import Sequences, Split
from rqrec.training.data.splitting.leave_one_out import leave_one_out
from rqrec.training.evaluation.metrics import ndcg_at_k, ranks_of_targets
from rqrec.training.evaluation.rank_by_short_term import rank_by_short_term
from rqrec.training.retriever.short_term_settings import ShortTermSettings, short_term_config
from rqrec.training.run import Run, RunSettings
from rqrec.training.runtime.loop import TrainingInterrupted, add_gradients
from rqrec.training.runtime.workspace import Workspace
from rqrec.training.train_decoder import load_retriever
from rqrec.training.train_short_term import fit_short_term, load_short_term, short_term_work

ITEMS, USERS, MAX_HISTORY, STOPPED_AFTER = 12, 60, 4, 7
SETTINGS = ShortTermSettings(
    width=8, taps=3, filters=2, dropout=0.2, epochs=4, batch_size=16, learning_rate=1e-2, checkpoint_every_steps=3
)
Configure = Callable[..., RunSettings]


@pytest.fixture(scope="module")
def sequences() -> Sequences:
    """Each user goes through the items in their order, from another first item."""
    rows = [(np.arange(6) + user) % ITEMS for user in range(USERS)]
    return Sequences.from_arrays(np.concatenate(rows).astype(np.int32), np.arange(0, 6 * USERS + 1, 6))


def fit(split: Split, folder: Path, settings: ShortTermSettings = SETTINGS) -> ShortTermEncoder:
    return fit_short_term(split, ITEMS, settings, folder / "checkpoints", folder, max_history=MAX_HISTORY)


@pytest.mark.parametrize("negatives", [ITEMS, ITEMS - 1], ids=["all items", "a sample"])
def test_learns_which_item_follows(sequences: Sequences, tmp_path: Path, negatives: int) -> None:
    split = leave_one_out(sequences)
    encoder = fit(split, tmp_path, replace(SETTINGS, epochs=20, negatives=negatives))
    lists_UK = rank_by_short_term(encoder, split.test, k=1)
    assert ndcg_at_k(ranks_of_targets(lists_UK, split.test.targets_U), k=1) > 0.9


def test_without_validation_users_it_keeps_the_last_weights(sequences: Sequences, tmp_path: Path) -> None:
    split = leave_one_out(sequences, held_out_items=1)
    encoder = fit(split, tmp_path, replace(SETTINGS, epochs=20, patience=1))
    lists_UK = rank_by_short_term(encoder, split.test, k=1)
    assert ndcg_at_k(ranks_of_targets(lists_UK, split.test.targets_U), k=1) > 0.9


def test_a_resumed_training_ends_with_the_weights_of_an_uninterrupted_one(
    sequences: Sequences, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = leave_one_out(sequences)
    whole = fit(split, tmp_path / "whole").state_dict()
    steps_left = iter(range(STOPPED_AFTER))
    with monkeypatch.context() as patched, pytest.raises(TrainingInterrupted):
        patched.setattr("rqrec.training.runtime.loop.any_rank", lambda _: next(steps_left, None) is None)
        fit(split, tmp_path / "stopped")
    resumed = fit(split, tmp_path / "stopped").state_dict()
    assert all(torch.equal(resumed[name], weight) for name, weight in whole.items())


def gradients(sequences: Sequences, settings: ShortTermSettings, *, accumulate: int) -> Mapping[str, Tensor]:
    work = short_term_work(sequences, ITEMS, settings, max_history=MAX_HISTORY, device=torch.device("cpu"))
    torch.manual_seed(0)
    model = ShortTermEncoder(short_term_config(settings, num_items=ITEMS, max_history=MAX_HISTORY))
    add_gradients(model, work, next(iter(work.batches(0))), 0.5, accumulate=accumulate)
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("negatives", [ITEMS, 3], ids=["all items", "a sample"])
def test_parts_of_a_batch_give_the_gradients_of_the_whole(sequences: Sequences, negatives: int) -> None:
    weights = np.random.default_rng(0).choice([0.0, 0.5, 2.0], len(sequences.items_I))
    weighted = sequences.with_arrays(weights_I=weights.astype(np.float32))
    settings = replace(SETTINGS, dropout=0.0, negatives=negatives)
    whole, parts = (gradients(weighted, settings, accumulate=accumulate) for accumulate in (1, 3))
    assert "items.weight" in whole
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, msg=name)


def test_training_the_decoder_changes_no_weight_of_the_short_term_encoder(trained: Run) -> None:
    assert trained.short_term is not None
    expected, held = load_short_term(trained.short_term), load_retriever(trained.decoder).short_term
    assert held is not None
    assert held.config == expected.config
    weights = held.state_dict()
    assert all(torch.equal(weights[name], weight) for name, weight in expected.state_dict().items())


def test_width_0_skips_the_stage(tmp_path: Path, configure: Configure) -> None:
    settings = configure("ShortTermSettings.width = 0", "DecoderSettings.epochs = 1", "RqVaeSettings.steps = 5")
    run = Run(Workspace(tmp_path / "work", tmp_path), settings)
    assert run.short_term is None
    assert load_retriever(run.decoder).short_term is None
    assert not (tmp_path / "work" / "short_term").exists()


def test_the_key_depends_on_the_length_of_histories_and_on_no_other_setting_of_the_decoder(
    tmp_path: Path, configure: Configure
) -> None:
    def stage_key(*bindings: str) -> str:
        settings = configure("ShortTermSettings.epochs = 1", *bindings)
        stage = Run(Workspace(tmp_path / "work", tmp_path), settings).short_term
        assert stage is not None
        return stage.key

    key = stage_key()
    assert stage_key("DecoderSettings.epochs = 3") == key
    assert stage_key("DecoderSettings.max_history = 9") != key
