"""The stage "decoder": trains the retriever on semantic IDs and user sequences.

Run it as `rqrec train-decoder decoder_ml25m.gin`. The stages before it run first, if their results are not stored.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from rqrec.models.bundle.transition_table import read_transitions, write_transitions
from rqrec.models.retriever.catalogue_tensors import CatalogueTensors
from rqrec.models.retriever.config import RetrieverConfig
from rqrec.models.retriever.retriever import Retriever
from rqrec.models.retriever.short_term_encoder import ShortTermEncoder
from rqrec.models.search.history.bonus import HistoryBonus
from rqrec.models.search.history.own_weights import OwnItemWeights
from rqrec.models.search.history.transitions import Transitions
from rqrec.models.search.recommender import Recommender
from rqrec.models.search.torch_engine import TorchEngine
from rqrec.models.trie.trie import SemanticIdTrie
from rqrec.training.data.prepare import load_prepared, load_repeats, load_split
from rqrec.training.data.sequences import tokenize_sequences
from rqrec.training.data.splits import Split
from rqrec.training.evaluation.baselines import item_popularity
from rqrec.training.evaluation.metrics import ndcg_at_k, ranks_of_targets
from rqrec.training.evaluation.rank_holdout import rank_holdout
from rqrec.training.features.features import load_features
from rqrec.training.history.transitions import fit_transitions
from rqrec.training.history.validation_fit import fit_on_validation
from rqrec.training.retriever.decoder_settings import DecoderSettings, retriever_config
from rqrec.training.retriever.work import continue_retriever
from rqrec.training.runtime.device import training_device
from rqrec.training.runtime.workspace import Stage, Workspace
from rqrec.training.tokenize_items import load_semantic_ids
from rqrec.training.train_short_term import load_short_term

NAME = "decoder"
WEIGHTS, CONFIG = "retriever.safetensors", "retriever.json"
BONUS, TRANSITIONS = "history_bonus.json", "transitions.parquet"
VALIDATION_K = 10
CODE_VERSION = 11  # 10: following items follow one of the last four items; 11: long-term vectors


def train_decoder(
    workspace: Workspace,
    data: Stage,
    features: Stage,
    tokens: Stage,
    settings: DecoderSettings,
    *,
    short_term: Stage | None = None,
) -> Stage:
    """Runs the stage "decoder": trains the retriever, and stores it in the workspace.

    An interrupted training resumes from its checkpoint, if `workspace.resume` is true.

    Args:
        workspace: The folder that stores the results of all stages.
        data: The result of `prepare_data`: the checked data and its split.
        features: The result of `make_features`: the features of all items.
        tokens: The result of `tokenize_items`: the semantic IDs of all items.
        settings: The retriever's sizes, and how it is trained.
        short_term: The result of `train_short_term`: the trained short-term encoder; None to train without one.

    Returns:
        The finished stage. Its result is in the folder `Stage.path`; `load_retriever`,
        `load_history_bonus` and `load_transitions` read it.
    """

    def write(directory: Path, checkpoints: Path) -> None:
        ids = load_semantic_ids(tokens)
        trie = SemanticIdTrie.build(ids.codes_NL, codebook_size=ids.codebook_size)
        dataset, split, excludes = load_prepared(data), load_split(data), load_repeats(data).exclude_history
        disliked = dataset.disliked_types
        features_NE = load_features(features).features_NE
        model = fit_retriever(
            trie,
            features_NE,
            split,
            settings,
            checkpoints,
            workspace.tensorboard,
            num_event_types=len(dataset.event_types),
            exclude_history=excludes,
            disliked_types=disliked,
            short_term=load_short_term(short_term) if short_term else None,
        )
        transitions = fit_transitions(split.train, features_NE)
        bonus = fit_on_validation(model, trie, features_NE, split, transitions, settings, excludes, disliked)
        save_file(model.state_dict(), directory / WEIGHTS)
        (directory / CONFIG).write_text(json.dumps(asdict(model.config)), encoding="utf-8")
        write_transitions(transitions, directory / TRANSITIONS)
        (directory / BONUS).write_text(json.dumps(asdict(bonus)), encoding="utf-8")

    inputs = [data, features, tokens, *([short_term] if short_term else [])]
    return workspace.train(NAME, inputs=inputs, settings=settings, write=write, version=CODE_VERSION)


def fit_retriever(
    trie: SemanticIdTrie,
    features_NE: NDArray[np.float32],
    split: Split,
    settings: DecoderSettings,
    checkpoints: Path,
    tensorboard: Path,
    *,
    num_event_types: int = 0,
    exclude_history: bool = True,
    disliked_types: Sequence[int] = (),
    short_term: ShortTermEncoder | None = None,
) -> Retriever:
    """Trains a retriever, on a GPU if there is one.

    The result has the weights with the best NDCG in validation; without validation users, the last weights.

    Args:
        trie: The trie of the catalogue's semantic IDs.
        features_NE: Item features by item_index, shape (N, E).
        split: The sequences to train on, and the users to validate with.
        settings: The retriever's sizes, and how it is trained.
        checkpoints: The folder of this training's checkpoints.
        tensorboard: The folder of all TensorBoard files.
        num_event_types: Number of event types in the sequences, without "unknown"; 0 if the data has none.
        exclude_history: Whether recommendation lists in validation leave out the items of the user's history.
        disliked_types: The numbers of the event types that are dislikes; see
            `training.evaluation.rank_holdout.rank_holdout`.
        short_term: The trained short-term encoder, whose weights the retriever gets and does not change; None for a
            retriever without one.

    Returns:
        The trained model, on the CPU and in evaluation mode.
    """
    device = training_device()
    torch.manual_seed(settings.seed)
    sizes = retriever_config(
        settings,
        trie,
        feature_dim=features_NE.shape[1],
        num_event_types=num_event_types,
        short_term=short_term.config if short_term else None,
    )
    model = Retriever(sizes)
    if short_term is not None and model.short_term is not None:
        model.short_term.load_state_dict(short_term.state_dict())
    model.to(device)
    popularity_N = item_popularity(split.train, len(features_NE))
    catalogue = CatalogueTensors.from_trie(trie, features_NE, popularity_N, device)
    validate = _validation(model, trie, catalogue, split, settings, exclude_history, disliked_types)
    return continue_retriever(
        model,
        catalogue,
        tokenize_sequences(split.train, trie.leaf_of_row_N),
        settings,
        checkpoints,
        tensorboard,
        name=NAME,
        validate=validate,
    )


def _validation(
    model: Retriever,
    trie: SemanticIdTrie,
    catalogue: CatalogueTensors,
    split: Split,
    settings: DecoderSettings,
    exclude_history: bool,
    disliked_types: Sequence[int],
) -> Callable[[], float] | None:
    """Returns a function that computes NDCG@10 of the current weights; None if no user can be validated with."""
    if not len(split.validation):
        return None
    holdout = split.validation.sample(settings.validation_users, seed=settings.seed)

    def validate() -> float:
        item_vectors_ND = model.eval().item_vectors(catalogue)
        recommender = Recommender(
            TorchEngine(model, trie, item_vectors_ND, device=item_vectors_ND.device),
            trie,
            max_history=settings.max_history,
            popularity_N=np.zeros(trie.num_leaves, dtype=np.int64),
        )
        lists_UK = rank_holdout(
            recommender,
            holdout,
            k=VALIDATION_K,
            beam_width=settings.beam_width,
            exclude_history=exclude_history,
            disliked_types=disliked_types,
            name="validation",
        )
        return ndcg_at_k(ranks_of_targets(lists_UK, holdout.targets_U), k=VALIDATION_K)

    return validate


def load_history_bonus(stage: Stage) -> HistoryBonus:
    """Reads the bonus of the candidates that a user's history points at, which `train_decoder` fitted."""
    fields = json.loads((stage.path / BONUS).read_text(encoding="utf-8"))
    own = fields["own"] and OwnItemWeights.from_fields(fields["own"])
    return HistoryBonus(own, fields["following"])


def load_transitions(stage: Stage) -> Transitions:
    """Reads the items that followed each item in the training data, by item_index."""
    rows = json.loads((stage.path / CONFIG).read_text(encoding="utf-8"))["num_items"]
    return read_transitions(stage.path / TRANSITIONS, rows=rows)


def load_retriever(stage: Stage) -> Retriever:
    """Reads the retriever that `train_decoder` saved. The model is on the CPU and in evaluation mode."""
    model = Retriever(RetrieverConfig.from_fields(json.loads((stage.path / CONFIG).read_text(encoding="utf-8"))))
    model.load_state_dict(load_file(stage.path / WEIGHTS))
    return model.eval()


if __name__ == "__main__":
    from rqrec.training.cli import stage_command  # here, because cli imports this module

    stage_command(lambda run: run.decoder, __doc__)
