"""The stages of a retraining that learn: the short-term encoder and the retriever go on from the weights they have.

They run twice. The candidate learns the new interactions without the latest ones, on which it is then judged. Then it
learns these too, as in the refit of a full training.
"""

import json
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from rqrec.models.bundle.bundle import Bundle
from rqrec.models.bundle.transition_table import write_transitions
from rqrec.models.retriever.catalogue_tensors import CatalogueTensors
from rqrec.models.trie.trie import SemanticIdTrie
from rqrec.training import train_decoder, train_short_term
from rqrec.training.bundling.trained import is_newer, learnt_popularity
from rqrec.training.data.prepare import load_prepared
from rqrec.training.data.sequences import tokenize_sequences
from rqrec.training.data.splits import Sequences, user_sequences
from rqrec.training.features.features import load_features
from rqrec.training.refit import shortened
from rqrec.training.retrain.asking.bonus import refitted_bonus
from rqrec.training.retrain.asking.questions import next_item_questions, sampled_interactions
from rqrec.training.retrain.counted import counted_anew
from rqrec.training.retrain.data import as_stage
from rqrec.training.retrain.grown_model import grown_retriever
from rqrec.training.retrain.rare_rates import ITEMS, at_rates, item_rates, retriever_rates
from rqrec.training.retrain.settings import AllSettings
from rqrec.training.retrain.targets import with_targets
from rqrec.training.retriever.work import continue_retriever
from rqrec.training.runtime.device import training_device
from rqrec.training.runtime.workspace import Stage, Workspace
from rqrec.training.tokenize_items import load_semantic_ids
from rqrec.training.train_decoder import load_retriever
from rqrec.training.train_short_term import continue_short_term, load_short_term

START, SHORT_TERM, DECODER = "retrain_start", "retrain_short_term", "retrain_decoder"


@dataclass(frozen=True)
class _Start:
    """All settings on which the first weights and the bonus depend."""

    beam_width: int
    bonus_interactions: int
    seed: int
    until_s: int


@dataclass(frozen=True)
class _Learning:
    """All settings on which the result of a learning stage depends."""

    training: object
    replay: float
    rare_rate: float
    until_s: int | None


@dataclass(frozen=True)
class Learner:
    """What all learning stages of a retraining read.

    Attributes:
        workspace: The folder that stores the results of all stages.
        parent: The bundle from which the retraining goes on.
        data: The result of `read_data`.
        features: The result of `make_features`.
        tokens: The result of `tokenize_new_items`.
        settings: The settings of the full training and of the retraining.
    """

    workspace: Workspace
    parent: Bundle
    data: Stage
    features: Stage
    tokens: Stage
    settings: AllSettings

    def start(self, *, until_s: int) -> Stage:
        """Runs the stage "retrain_start": grows the bundle's retriever to all items, and fits its bonus anew.

        Args:
            until_s: The time before which the new interactions are to which the bonus is fitted, in seconds since 1970.
        """
        count, seed = self.settings.retrain.bonus_interactions, self.settings.retrain.seed

        def write(directory: Path) -> None:
            features = load_features(self.features)
            model = grown_retriever(self.parent, self._trie(), features.features_NE)
            save_file(model.state_dict(), directory / train_decoder.WEIGHTS)
            (directory / train_decoder.CONFIG).write_text(json.dumps(asdict(model.config)), encoding="utf-8")
            sequences, is_new_I = self._sequences(until_s)
            asked, _ = next_item_questions(sequences, sampled_interactions(is_new_I, count, seed=seed))
            bonus = refitted_bonus(
                self.parent,
                features,
                load_semantic_ids(self.tokens),
                asked,
                beam_width=self.settings.evaluation.beam_width,
                disliked_types=load_prepared(self.data).disliked_types,
            )
            (directory / train_decoder.BONUS).write_text(json.dumps(asdict(bonus)), encoding="utf-8")

        inputs = [as_stage(self.parent), self.data, self.features, self.tokens]
        key = _Start(self.settings.evaluation.beam_width, count, seed, until_s)
        return self.workspace.run(START, inputs=inputs, settings=key, write=write)

    def learn(self, before: Stage, *, until_s: int | None) -> Stage:
        """Trains both networks further on the new interactions and a replay of the old ones.

        Args:
            before: The stage with the weights to go on from.
            until_s: The time before which interactions are learnt, in seconds since 1970. None for all of them: the
                weights of `before` have learnt most of them, so they are trained for fewer epochs.

        Returns:
            The stage of the retriever; `load_retriever`, `load_history_bonus` and `load_transitions` read its result.
        """
        short_term = self._short_term(before, until_s) if load_retriever(before).short_term is not None else None
        return self._decoder(before, short_term, until_s)

    def _short_term(self, before: Stage, until_s: int | None) -> Stage:
        retrain, name = self.settings.retrain, self._name(SHORT_TERM, until_s)
        settings = replace(
            self.settings.short_term,
            epochs=retrain.short_term_epochs,
            learning_rate=retrain.rate_share * self.settings.short_term.learning_rate,
            seed=retrain.seed,
        )
        settings = settings if until_s is not None else shortened(settings)

        def write(directory: Path, checkpoints: Path) -> None:
            torch.manual_seed(settings.seed)
            encoder = load_retriever(before).short_term
            assert encoder is not None
            encoder.train().requires_grad_(True).to(training_device())
            rates = item_rates(self.parent, encoder.config.num_items, most=retrain.rare_rate)
            with at_rates(encoder, {ITEMS: rates}):
                encoder = continue_short_term(
                    encoder,
                    with_targets(*self._sequences(until_s), replay=retrain.replay),
                    settings,
                    checkpoints,
                    self.workspace.tensorboard,
                    name=name,
                )
            save_file(encoder.state_dict(), directory / train_short_term.WEIGHTS)
            (directory / train_short_term.CONFIG).write_text(json.dumps(asdict(encoder.config)), encoding="utf-8")

        learning = _Learning(settings, retrain.replay, retrain.rare_rate, until_s)
        return self.workspace.train(name, inputs=[self.data, before], settings=learning, write=write)

    def _decoder(self, before: Stage, short_term: Stage | None, until_s: int | None) -> Stage:
        retrain, name = self.settings.retrain, self._name(DECODER, until_s)
        settings = replace(
            self.settings.decoder,
            epochs=retrain.epochs,
            learning_rate=retrain.rate_share * self.settings.decoder.learning_rate,
            seed=retrain.seed,
        )
        settings = settings if until_s is not None else shortened(settings)

        def write(directory: Path, checkpoints: Path) -> None:
            features_NE, trie, device = load_features(self.features).features_NE, self._trie(), training_device()
            sequences, is_new_I = self._sequences(until_s)
            learnt = with_targets(sequences, is_new_I, replay=retrain.replay, seed=settings.seed)
            torch.manual_seed(settings.seed)
            model = load_retriever(before)
            if short_term is not None and model.short_term is not None:
                model.short_term.load_state_dict(load_short_term(short_term).state_dict())
            popularity_N = learnt_popularity(sequences, len(features_NE), self.parent)
            model = model.to(device)
            with at_rates(model, retriever_rates(self.parent, trie, most=retrain.rare_rate)):
                model = continue_retriever(
                    model,
                    CatalogueTensors.from_trie(trie, features_NE, popularity_N, device),
                    tokenize_sequences(learnt, trie.leaf_of_row_N),
                    settings,
                    checkpoints,
                    self.workspace.tensorboard,
                    name=name,
                )
            transitions = counted_anew(model, sequences, is_new_I, features_NE, settings, self.parent)
            save_file(model.state_dict(), directory / train_decoder.WEIGHTS)
            write_transitions(transitions, directory / train_decoder.TRANSITIONS)
            for file in (train_decoder.CONFIG, train_decoder.BONUS):
                shutil.copyfile(before.path / file, directory / file)

        inputs = [self.data, self.features, self.tokens, before, *([short_term] if short_term else [])]
        learning = _Learning(settings, retrain.replay, retrain.rare_rate, until_s)
        return self.workspace.train(name, inputs=inputs, settings=learning, write=write)

    def _sequences(self, until_s: int | None) -> tuple[Sequences, NDArray[np.bool_]]:
        """Returns the interactions before a time, and which of them are new."""
        sequences = user_sequences(load_prepared(self.data))
        if until_s is not None:
            assert sequences.times_I is not None
            sequences = sequences.only(sequences.times_I < until_s)
        return sequences, is_newer(sequences, self.parent)

    def _trie(self) -> SemanticIdTrie:
        ids = load_semantic_ids(self.tokens)
        return SemanticIdTrie.build(ids.codes_NL, codebook_size=ids.codebook_size)

    def _name(self, name: str, until_s: int | None) -> str:
        return name if until_s is not None else f"{name}_refit"
