"""The refit: trains the evaluated models further on all interactions, the held-out ones included.

The evaluation needs interactions that the models have not learnt, and these are the latest ones of every user. So
before publishing, both trained networks learn a few more epochs on everything, at a low learning rate. Their epochs and
rate are shares of those of the first training. Semantic IDs, features and the bonus of own and following items stay as
they are; the transitions are counted again.
"""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import save_file

from rqrec.models.bundle.transition_table import write_transitions
from rqrec.models.retriever.catalogue_tensors import CatalogueTensors
from rqrec.models.trie.trie import SemanticIdTrie
from rqrec.training import train_decoder, train_short_term
from rqrec.training.data.prepare import load_prepared, load_split
from rqrec.training.data.sequences import tokenize_sequences
from rqrec.training.data.splits import user_sequences
from rqrec.training.evaluation.baselines import item_popularity
from rqrec.training.features.features import load_features
from rqrec.training.history.long_term import renew_long_term
from rqrec.training.history.transitions import fit_transitions
from rqrec.training.retriever.decoder_settings import DecoderSettings
from rqrec.training.retriever.short_term_settings import ShortTermSettings
from rqrec.training.retriever.work import continue_retriever
from rqrec.training.runtime.device import training_device
from rqrec.training.runtime.workspace import Stage, Workspace
from rqrec.training.tokenize_items import load_semantic_ids
from rqrec.training.train_decoder import load_retriever
from rqrec.training.train_short_term import continue_short_term, load_short_term

SHORT_TERM_NAME, NAME = "short_term_refit", "decoder_refit"
EPOCHS_SHARE, RATE_SHARE = 0.25, 0.3  # of the first training's; measured in docs/experiments.md
SettingsT = TypeVar("SettingsT", ShortTermSettings, DecoderSettings)


def needs_refit(data: Stage) -> bool:
    """Whether the data set has interactions that are held out from the first training.

    Args:
        data: The result of `prepare_data`: the checked data and its split.
    """
    return not load_split(data).is_train_I.all()


def refit_short_term(workspace: Workspace, data: Stage, short_term: Stage, settings: ShortTermSettings) -> Stage:
    """Runs the stage "short_term_refit": trains the short-term encoder further on all interactions.

    An interrupted training resumes from its checkpoint, if `workspace.resume` is true.

    Args:
        workspace: The folder that stores the results of all stages.
        data: The result of `prepare_data`: the checked data and its split.
        short_term: The result of `train_short_term`: the trained short-term encoder.
        settings: The settings of the first training.

    Returns:
        The finished stage. `load_short_term` reads its result.
    """
    refit_settings = shortened(settings)

    def write(directory: Path, checkpoints: Path) -> None:
        torch.manual_seed(settings.seed)
        encoder = continue_short_term(
            load_short_term(short_term),
            user_sequences(load_prepared(data)),
            refit_settings,
            checkpoints,
            workspace.tensorboard,
            name=SHORT_TERM_NAME,
        )
        save_file(encoder.state_dict(), directory / train_short_term.WEIGHTS)
        shutil.copyfile(short_term.path / train_short_term.CONFIG, directory / train_short_term.CONFIG)

    return workspace.train(SHORT_TERM_NAME, inputs=[data, short_term], settings=refit_settings, write=write)


def refit_decoder(
    workspace: Workspace,
    data: Stage,
    features: Stage,
    tokens: Stage,
    decoder: Stage,
    settings: DecoderSettings,
    *,
    short_term: Stage | None = None,
) -> Stage:
    """Runs the stage "decoder_refit": trains the retriever further on all interactions.

    An interrupted training resumes from its checkpoint, if `workspace.resume` is true.

    Args:
        workspace: The folder that stores the results of all stages.
        data: The result of `prepare_data`: the checked data and its split.
        features: The result of `make_features`: the features of all items.
        tokens: The result of `tokenize_items`: the semantic IDs of all items.
        decoder: The result of `train_decoder`: the trained retriever.
        settings: The settings of the first training.
        short_term: The result of `refit_short_term`, whose weights the retriever gets; None for a retriever without a
            short-term encoder.

    Returns:
        The finished stage. It has the files of the stage "decoder", so the same functions read it.
    """
    refit_settings = shortened(settings)

    def write(directory: Path, checkpoints: Path) -> None:
        ids, features_NE = load_semantic_ids(tokens), load_features(features).features_NE
        trie = SemanticIdTrie.build(ids.codes_NL, codebook_size=ids.codebook_size)
        sequences, device = user_sequences(load_prepared(data)), training_device()
        torch.manual_seed(settings.seed)
        model = load_retriever(decoder)
        if short_term is not None and model.short_term is not None:
            model.short_term.load_state_dict(load_short_term(short_term).state_dict())
        popularity_N = item_popularity(sequences, len(features_NE))
        model = continue_retriever(
            model.to(device),
            CatalogueTensors.from_trie(trie, features_NE, popularity_N, device),
            tokenize_sequences(sequences, trie.leaf_of_row_N),
            refit_settings,
            checkpoints,
            workspace.tensorboard,
            name=NAME,
        )
        renew_long_term(model, sequences, settings)
        save_file(model.state_dict(), directory / train_decoder.WEIGHTS)
        write_transitions(fit_transitions(sequences, features_NE), directory / train_decoder.TRANSITIONS)
        for name in (train_decoder.CONFIG, train_decoder.BONUS):
            shutil.copyfile(decoder.path / name, directory / name)

    inputs = [data, features, tokens, decoder, *([short_term] if short_term else [])]
    return workspace.train(NAME, inputs=inputs, settings=refit_settings, write=write)


def shortened(settings: SettingsT) -> SettingsT:
    """Returns the settings of the refit: fewer epochs than in the training before, and a lower learning rate.

    Args:
        settings: The settings of the training before.
    """
    return replace(
        settings,
        epochs=max(round(EPOCHS_SHARE * settings.epochs), 1),
        learning_rate=RATE_SHARE * settings.learning_rate,
    )
