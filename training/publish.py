"""The last stage: writes the trained models and tables as a bundle, the versioned folder that the service loads.

Shapes: N items, E feature columns, P content width, D item vector width.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass as settings_dataclass
from safetensors.torch import save_file

from rqrec.models.bundle.bundle import read_bundle
from rqrec.models.bundle.error import BundleError
from rqrec.models.bundle.golden import Golden, record_golden
from rqrec.models.bundle.layout import (
    CONTENTS,
    FEATURIZER,
    FORMAT,
    HALF_SEARCH_GRAPH,
    ITEMS,
    LEARNED_ITEMS,
    PROJECTION,
    RETRIEVER_WEIGHTS,
    SEARCH_GRAPH,
    TOKENIZER_GRAPH,
    TOKENIZER_WEIGHTS,
    TRANSITIONS,
)
from rqrec.models.bundle.learned_items import LearnedItems
from rqrec.models.bundle.manifest import Manifest, seal_bundle
from rqrec.models.bundle.store import point_current
from rqrec.models.bundle.transition_table import write_transitions
from rqrec.models.files import new_directory
from rqrec.models.items.content_neighbours import content_of
from rqrec.models.retriever.retriever import Retriever
from rqrec.models.search.export import export_search, export_tokenizer
from rqrec.models.search.history.bonus import HistoryBonus
from rqrec.models.search.history.transitions import Transitions
from rqrec.models.tokenizer.featurizer import TEXT, Featurizer
from rqrec.models.tokenizer.rqvae import RqVae
from rqrec.models.trie.trie import SemanticIdTrie
from rqrec.training.data.dataset import Dataset
from rqrec.training.data.prepare import load_prepared, load_repeats, load_split
from rqrec.training.data.splits import user_sequences
from rqrec.training.evaluate import load_results
from rqrec.training.evaluation.baselines import item_popularity
from rqrec.training.features.content import fit_content
from rqrec.training.features.features import Features, load_features
from rqrec.training.features.text import LSA
from rqrec.training.features.text_export_process import text_encoder_export
from rqrec.training.runtime.distributed import rank
from rqrec.training.runtime.progress import Task, duration, progress
from rqrec.training.runtime.workspace import Stage, Workspace, stage_key
from rqrec.training.serving_recommender import item_vectors, make_recommender
from rqrec.training.tokenize_items import SemanticIds, load_semantic_ids
from rqrec.training.train_decoder import load_history_bonus, load_retriever, load_transitions
from rqrec.training.train_rqvae import load_rqvae

BUNDLES = "bundles"
NAME, STEPS = "publish", 6
logger = logging.getLogger("rqrec")


@settings_dataclass(frozen=True)
class PublishSettings:
    """Settings of the bundle that is published.

    Attributes:
        half_precision: Whether the bundle also holds the ONNX graph of the search in float16, for services that run
            with RQREC_PRECISION=half. Writing it takes as long as writing the float32 graph.
        refit: Whether the published model learns from all interactions. After the evaluation, it is trained further for
            a quarter of the epochs, with the held-out interactions. The bundle keeps the results of the evaluation;
            they are of the model before.
    """

    half_precision: bool = False
    refit: bool = True


@dataclass(frozen=True)
class Trained:
    """The results of all stages that come before publishing, and the settings that the bundle records.

    Attributes:
        data: The result of `prepare_data`: the checked data and its split.
        features: The result of `make_features`: the features of all items.
        rqvae: The result of `train_rqvae`: the trained RQ-VAE.
        tokens: The result of `tokenize_items`: the semantic IDs of all items.
        decoder: The result of `train_decoder`: the trained retriever.
        evaluation: The result of `evaluate`: the metrics of the retriever and the baselines.
        refit: The result of `refit_decoder`: the retriever after it has learnt from all interactions. None to publish
            the retriever of `decoder`.
        text_encoder: Name of the encoder of the items' texts; see `training.features.text.encode_texts`.
        config: All settings of the run, as the text of a gin file.
    """

    data: Stage
    features: Stage
    rqvae: Stage
    tokens: Stage
    decoder: Stage
    evaluation: Stage
    refit: Stage | None
    text_encoder: str
    config: str

    @property
    def published(self) -> Stage:
        """The stage that holds the retriever to publish."""
        return self.refit or self.decoder


@dataclass(frozen=True)
class _Format:
    """The part of a bundle's version that changes with this code."""

    settings: PublishSettings
    bundle_format: int = FORMAT
    code_version: int = 6  # 6: strengths of following items in a session


def publish(workspace: Workspace, trained: Trained, settings: PublishSettings) -> Path:
    """Writes the bundle `bundles/<version>`, and makes `bundles/current` point to it.

    The version is the name of the data set and a hash of all inputs of the bundle. A valid bundle of this version is
    not written again. If several processes train together, only rank 0 writes.

    Args:
        workspace: The folder that stores the results of all stages. `bundles` is below it.
        trained: The results of all stages that come before.
        settings: Whether the bundle also holds a search in half precision.

    Returns:
        The bundle's folder.
    """
    dataset = load_prepared(trained.data)
    inputs = [trained.data, trained.tokens, trained.rqvae, trained.published, trained.evaluation]
    version = f"{dataset.name}-{stage_key(inputs, _Format(settings))}"
    bundle = workspace.root / BUNDLES / version
    if rank() > 0:
        return bundle
    if _is_intact(bundle):
        logger.info("%s: nothing to do, the bundle is up to date", NAME)
    else:
        logger.info("%s: started", NAME)
        with progress(NAME, total=STEPS) as task, new_directory(bundle) as folder:
            _write(folder, trained, dataset, settings, version, task)
        read_bundle(bundle)
        logger.info("%s: finished in %s", NAME, duration(time.monotonic() - task.begin_s))
    point_current(bundle.parent, version)
    return bundle


def _is_intact(bundle: Path) -> bool:
    try:
        read_bundle(bundle)
    except BundleError:
        return False
    return True


@dataclass(frozen=True)
class _Learned:
    """What the stages learned, as it goes into the bundle; tables are by item_index."""

    features: Features
    ids: SemanticIds
    tokenizer: RqVae
    retriever: Retriever
    popularity_N: NDArray[np.int64]
    bonus: HistoryBonus
    transitions: Transitions

    @classmethod
    def load(cls, trained: Trained, dataset: Dataset) -> "_Learned":
        features = load_features(trained.features)
        learnt = load_split(trained.data).train if trained.refit is None else user_sequences(dataset)
        return cls(
            features,
            load_semantic_ids(trained.tokens),
            load_rqvae(trained.rqvae),
            load_retriever(trained.published),
            item_popularity(learnt, len(features.features_NE)),
            load_history_bonus(trained.published),
            load_transitions(trained.published),
        )


def _write(
    folder: Path, trained: Trained, dataset: Dataset, settings: PublishSettings, version: str, task: Task
) -> None:
    """Writes all files of a bundle."""
    learned = _Learned.load(trained, dataset)
    with _text_encoder(folder, dataset, learned.features.featurizer, trained.text_encoder) as exported:
        golden = _write_files(folder, dataset, learned, settings, task)
        task.next_step("the text encoder")
        no_text_encoder = exported()
    task.next_step("checksums")
    is_typed = learned.retriever.config.num_event_types > 0
    own = learned.bonus.own
    manifest = Manifest(
        format=FORMAT,
        version=version,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        dataset=dataset.name,
        data_fingerprint=dataset.fingerprint,
        num_items=len(dataset.items),
        retriever=asdict(learned.retriever.config),
        tokenizer=asdict(learned.tokenizer.config),
        metrics=load_results(trained.evaluation),
        no_text_encoder=no_text_encoder,
        golden=[asdict(one) for one in golden],
        config=trained.config,
        checksums={},
        event_types=dataset.event_types if is_typed else (),
        excluding_types=dataset.excluding_types,
        disliking_types=dataset.disliking_types,
        exclude_history=load_repeats(trained.data).exclude_history,
        own_items={} if own is None else asdict(own),
        following_weight=learned.bonus.following,
        half_search=settings.half_precision,
        refit=trained.refit is not None,
    )
    seal_bundle(folder, manifest)


def _write_files(
    folder: Path, dataset: Dataset, learned: _Learned, settings: PublishSettings, task: Task
) -> list[Golden]:
    """Writes all files except the manifest, and returns the golden answers: answers that the service must reproduce."""
    features, retriever, popularity_N = learned.features, learned.retriever, learned.popularity_N
    save_file(retriever.state_dict(), folder / RETRIEVER_WEIGHTS)
    save_file(learned.tokenizer.state_dict(), folder / TOKENIZER_WEIGHTS)
    task.next_step("the graph of the tokenizer")
    export_tokenizer(learned.tokenizer, folder / TOKENIZER_GRAPH)
    codes_NL = learned.ids.codes_NL
    trie = SemanticIdTrie.build(codes_NL, codebook_size=learned.ids.codebook_size)
    task.next_step("the graph of the search")
    export_search(retriever, trie, folder / SEARCH_GRAPH)
    if settings.half_precision:
        export_search(retriever, trie, folder / HALF_SEARCH_GRAPH, half=True)
    task.next_step("the tables of the items")
    projection_EP = fit_content(features)
    item_vectors_ND = item_vectors(retriever, trie, features, projection_EP, popularity_N)
    contents_NP = content_of(features.features_NE, projection_EP).astype(np.float16)
    np.save(folder / PROJECTION, projection_EP, allow_pickle=False)
    np.save(folder / CONTENTS, contents_NP, allow_pickle=False)
    (folder / FEATURIZER).write_text(features.featurizer.to_json(), encoding="utf-8")
    LearnedItems(codes_NL, popularity_N, item_vectors_ND).write(folder / LEARNED_ITEMS)
    if learned.bonus.following is not None:
        write_transitions(learned.transitions, folder / TRANSITIONS)
    shown = [payload_column(column) for column in dataset.items.iter_columns()]
    pl.DataFrame([column for column in shown if column.dtype != pl.Null]).write_parquet(folder / ITEMS)
    task.next_step("the answers that a service must give again")
    recommender = make_recommender(retriever, trie, item_vectors_ND, popularity_N, learned.bonus, learned.transitions)
    return record_golden(recommender, popularity_N)


@contextmanager
def _text_encoder(folder: Path, dataset: Dataset, featurizer: Featurizer, encoder: str) -> Iterator[Callable[[], str]]:
    """Writes the text encoder during the block.

    Yields:
        A function that waits for its end. It returns the reason why the bundle has no text encoder; an empty text if it
        has one.
    """
    if featurizer.given_block(TEXT) is None:
        yield lambda: "the model reads no text"
    elif encoder == LSA:
        yield lambda: f"the text encoder {LSA!r} can encode the texts of training only"
    else:
        texts = [text for text in featurizer.texts(dataset.items) if text]
        with text_encoder_export(encoder, texts, folder) as exported:
            yield exported


def payload_column(column: pl.Series) -> pl.Series:
    """Converts an item attribute to a type that JSON has, so that the service can return it with the item.

    A column of vectors, bytes or Python objects cannot be shown: the result has the type Null and no values.
    """
    if isinstance(column.dtype, pl.Array) or column.dtype in (pl.Binary, pl.Object):
        return pl.Series(column.name, [None] * len(column), dtype=pl.Null)
    if column.dtype.is_temporal() or isinstance(column.dtype, pl.Categorical | pl.Enum):
        return column.cast(pl.String)
    if column.dtype.is_decimal():
        return column.cast(pl.Float64)
    if column.dtype.is_float():
        return column.fill_nan(None)
    return column
