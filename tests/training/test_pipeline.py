import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from rqrec.models.bundle.bundle import read_bundle
from rqrec.models.bundle.layout import MANIFEST
from rqrec.training.cli import EXIT_INTERRUPTED, EXIT_REFUSED
from rqrec.training.data.dataset import DataError
from rqrec.training.evaluate import load_results
from rqrec.training.evaluation.report import ITEM_KNN, POPULARITY, RQREC
from rqrec.training.features.features import TABLE, load_features
from rqrec.training.run import Run, RunSettings
from rqrec.training.runtime.workspace import Workspace, open_workspace
from rqrec.training.tokenize_items import load_semantic_ids
from rqrec.training.train_decoder import load_retriever
from rqrec.training.train_rqvae import load_rqvae
from tests.training.forked import Fork, start_command

Configure = Callable[..., RunSettings]


def test_every_item_gets_its_own_semantic_id(trained: Run) -> None:
    ids = load_semantic_ids(trained.tokens)
    assert ids.codes_NL.shape == (64, 4)
    assert len(np.unique(ids.codes_NL, axis=0)) == 64
    features_NE = torch.from_numpy(load_features(trained.features).features_NE)
    codes_NL = load_rqvae(trained.rqvae).get_codebook_indices(features_NE)
    assert np.array_equal(ids.codes_NL[:, :-1], codes_NL.numpy())


def test_the_retriever_learns_what_users_like(trained: Run) -> None:
    results = load_results(trained.evaluation)
    assert results[RQREC]["users"] == 160
    for metric in ("recall@10", "ndcg@10"):
        assert results[RQREC][metric] > 2 * results[POPULARITY][metric]
    assert set(results[RQREC]) == set(results[ITEM_KNN])
    assert {"mrr@20", "coverage@10", "diversity@10", "cold_users"} <= set(results[RQREC])
    assert {"reconstruction_loss", "rqvae_loss", "usage_0", "perplexity_2", "collision_ratio"} <= set(
        results["tokenizer"]
    )


def test_what_stands_is_reused_and_what_changed_is_not(trained: Run, configure: Configure) -> None:
    root, data_dir = trained.workspace.root, trained.workspace.data_dir
    files = [*root.glob("*/stage.json"), *root.glob("bundles/*/*")]
    assert len(files) > 10
    before = {path: path.stat().st_mtime_ns for path in files}
    with open_workspace(root, data_dir) as workspace:
        assert Run(workspace, configure()).bundle == trained.bundle
        assert {path: path.stat().st_mtime_ns for path in before} == before
        assert Run(workspace, configure("DecoderSettings.dropout = 0.0")).rqvae.key == trained.rqvae.key
    with open_workspace(root.parent / "other", data_dir) as workspace:
        changed = "DecoderSettings.dropout = 0.0", "RqVaeSettings.steps = 2", "DecoderSettings.epochs = 1"
        other = Run(workspace, configure(*changed))
        assert other.rqvae.key != trained.rqvae.key
        assert other.decoder.key != trained.decoder.key


def test_the_same_seed_gives_the_same_weights(tmp_path: Path, configure: Configure) -> None:
    settings = configure("DecoderSettings.epochs = 2", "RqVaeSettings.steps = 20")
    one, other = (Run(Workspace(tmp_path / name, tmp_path), settings).decoder for name in ("one", "other"))
    ours, theirs = (load_retriever(stage).state_dict() for stage in (one, other))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def train_rqvae(shop: Path, work_dir: Path, binding: str) -> Fork:
    config = work_dir.parent / "small.gin"
    bindings = [
        "FeatureSettings.text_encoder = 'lsa'",
        "FeatureSettings.lsa_dim = 4",
        "RqVaeSettings.hidden_widths = (16,)",
        "RqVaeSettings.codebook_size = 16",
        "RqVaeSettings.steps = 600",
    ]
    config.write_text("\n".join(bindings))
    words = ["train-rqvae", str(config), "--dataset", str(shop), "--work-dir", str(work_dir), "--set", binding]
    return start_command(*words, folder=work_dir.parent)


def test_interrupted_training_leaves_a_checkpoint_and_nothing_half_written(shop: Path, tmp_path: Path) -> None:
    work, binding = tmp_path / "work", "RqVaeSettings.checkpoint_every_steps = 50"
    run = train_rqvae(shop, work, binding)
    while not list(work.glob("rqvae-checkpoints/*/step-*")):
        assert run.process.exitcode is None, run.finish()
        time.sleep(0.01)
    os.kill(run.pid, signal.SIGINT)
    ended = run.finish(60)
    assert ended.returncode == EXIT_INTERRUPTED
    assert "run the same command to resume" in ended.stderr
    assert not (work / "rqvae").exists()
    assert {path.name for path in work.iterdir()} == {"data", "features", "rqvae-checkpoints", "tensorboard"}
    assert train_rqvae(shop, work, binding).finish().returncode == 0
    assert (work / "rqvae" / "rqvae.safetensors").is_file()


def test_bad_input_is_refused_with_one_clear_line(shop: Path, tmp_path: Path) -> None:
    ended = train_rqvae(shop, tmp_path / "work", "RqVaeSettings.stepz = 1").finish(60)
    assert ended.returncode == EXIT_REFUSED
    assert "doesn't have a parameter named 'stepz'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_table_says_how_each_column_is_used(trained: Run) -> None:
    lines = (trained.features.path / TABLE).read_text(encoding="utf-8").splitlines()
    uses = {line.split()[0]: line.split()[1] for line in lines[2:] if len(line.split()) > 1}
    assert uses.items() >= {"user_id": "user_id", "timestamp": "timestamp", "title": "text", "year": "number"}.items()
    assert max(map(len, lines)) <= 120


def test_an_unknown_column_is_refused_before_anything_is_trained(tmp_path: Path, configure: Configure) -> None:
    run = Run(Workspace(tmp_path / "work", tmp_path), configure("FeatureSettings.use = {'genre': 'labels'}"))
    with pytest.raises(DataError, match=r"\['genre'\] are none: the attributes are \['title', 'year', 'genres'\]"):
        run.rqvae  # noqa: B018 - reading it runs the stages
    assert not (tmp_path / "work" / "features").exists()


def test_stage_stamps_say_what_a_result_was_made_from(trained: Run) -> None:
    stamp = json.loads((trained.workspace.root / "rqvae" / "stage.json").read_text())
    assert stamp["settings"]["steps"] == 60
    assert len(stamp["inputs"]) == 1


@pytest.mark.usefixtures("without_search_graph")
def test_an_altered_bundle_is_published_again(trained: Run, tmp_path: Path) -> None:
    root = Path(shutil.copytree(trained.workspace.root, tmp_path / "work", symlinks=True))
    copy = Workspace(root, trained.workspace.data_dir)
    bundle = Run(copy, trained.settings).bundle
    (bundle / MANIFEST).write_text("{")
    assert Run(copy, trained.settings).bundle == bundle
    assert read_bundle(bundle.parent).path == bundle.resolve()
