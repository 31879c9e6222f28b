"""The last stage: writes the trained models and tables as a bundle, the versioned folder that the service loads.

Shapes: N items, E feature columns, P content width, D item vector width.
"""

import logging
import shutil
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic.dataclasses import dataclass as settings_dataclass

from rqrec.models.bundle.bundle import read_bundle
from rqrec.models.bundle.error import BundleError
from rqrec.models.bundle.golden import Golden
from rqrec.models.bundle.layout import CURRENT, FORMAT, MAPPED_FROM, REPORT
from rqrec.models.bundle.manifest import Manifest, seal_bundle
from rqrec.models.bundle.store import current_version, is_retrained_from, point_current, target_of_current
from rqrec.models.errors import UserError, naming
from rqrec.models.files import new_directory
from rqrec.training.bundling.bundle_files import write_files
from rqrec.training.bundling.text_files import copy_text_encoder, exported_text_encoder
from rqrec.training.bundling.trained import Learned, Trained
from rqrec.training.data.dataset import Dataset
from rqrec.training.data.prepare import load_prepared, load_repeats
from rqrec.training.evaluate import load_results
from rqrec.training.runtime.distributed import rank
from rqrec.training.runtime.progress import Task, duration, progress
from rqrec.training.runtime.workspace import KEY_LENGTH, Stage, Workspace, stage_key

BUNDLES = "bundles"
UNFINISHED_BUNDLES = f".*-{'[0-9a-f]' * KEY_LENGTH}-????????"  # names of bundles that are being written
NAME, STEPS = "publish", 7
logger = logging.getLogger("rqrec")


@settings_dataclass(frozen=True)
class PublishSettings:
    """Settings of the bundle that is published.

    Attributes:
        half_precision: Whether the bundle also holds the ONNX graph of the search in float16, for services that run
            with RQREC_PRECISION=half. Exporting it takes as long as exporting the float32 graph.
        refit: Whether the published model learns from all interactions. After the evaluation, it is trained further for
            a quarter of the epochs, with the held-out interactions. The bundle keeps the results of the evaluation;
            they are of the model before.
        report: Whether a run writes the training report, a page that shows what each stage did, before it publishes.
            The bundle holds a copy.
    """

    half_precision: bool = False
    refit: bool = True
    report: bool = True


class CurrentMoved(UserError):
    """Raised when `current` was set while a retraining ran. Its bundle is published beside."""


@dataclass(frozen=True)
class _Format:
    """The part of a bundle's version that changes with this code."""

    settings: PublishSettings
    bundle_format: int = FORMAT
    code_version: int = 8  # 8: the meaning of codes, a map of the items, and prefixes in the search graph


def publish(
    workspace: Workspace,
    trained: Trained,
    settings: PublishSettings,
    report: Stage | None = None,
    *,
    instead_of: str | None = None,
) -> Path:
    """Writes the bundle `bundles/<version>`, and makes `bundles/current` point to it.

    A retrained model is published beside its parent, the bundle from which the retraining went on.

    The version is the name of the data set and a hash of all inputs of the bundle. A valid bundle of this version is
    not written again. If `current` names a bundle that was retrained from it, `current` stays: a repeated run undoes no
    retraining. If several processes train together, only rank 0 writes.

    Args:
        workspace: The folder that stores the results of all stages. After a full training, `bundles` is below it.
        trained: The results of all stages that come before.
        settings: Whether the bundle also holds a search in half precision.
        report: The result of `write_report`, which the bundle gets a copy of; None for a bundle without a report.
        instead_of: The bundle whose place in `current` the new one takes; None for any.

    Returns:
        The bundle's folder.

    Raises:
        CurrentMoved: If `current` names another bundle than `instead_of`. The bundle is written, and `current` stays.
        BundleError: If `current` is no link.
        NotWritten: If the bundle cannot be written, for example because the disk is full.
    """
    dataset = load_prepared(trained.data)
    inputs = [trained.data, trained.tokens, trained.rqvae, trained.published, trained.evaluation]
    inputs += [report] if report else []
    version = f"{dataset.name}-{stage_key(inputs, _Format(settings))}"
    bundles = workspace.root / BUNDLES if trained.parent is None else trained.parent.path.parent
    bundle = bundles / version
    if rank() > 0:
        return bundle
    if _is_intact(bundle):
        if workspace.tells_current:
            logger.info("%s: nothing to do, the bundle is up to date", NAME)
    else:
        _write_new(bundle, trained, dataset, settings, report)
    if is_retrained_from(bundles, version):
        line = "%s: the current bundle stays %s, which was retrained from it (to go back: ln -sfn %s %s)"
        logger.info(line, NAME, current_version(bundles), version, bundles / CURRENT)
        return bundle
    with naming(bundles):
        is_current = point_current(bundles, version, instead_of=instead_of)
    if not is_current:
        raise CurrentMoved(
            f"published {bundle}, but {bundles / CURRENT} stays: it was set to {target_of_current(bundles)} meanwhile. "
            "Run the same command again to learn what is newer than that bundle's interactions, or make this one "
            f"current: ln -sfn {version} {bundles / CURRENT}"
        )
    return bundle


def _write_new(
    bundle: Path, trained: Trained, dataset: Dataset, settings: PublishSettings, report: Stage | None
) -> None:
    """Writes the folder of a bundle, and reads it once."""
    logger.info("%s: started", NAME)
    with naming(bundle.parent), progress(NAME, total=STEPS) as task, new_directory(bundle) as folder:
        if report is not None:
            shutil.copyfile(report.path / REPORT, folder / REPORT)
        _write(folder, trained, dataset, settings, bundle.name, task)
    read_bundle(bundle)
    logger.info("%s: finished in %s", NAME, duration(time.monotonic() - task.begin_s))


def _is_intact(bundle: Path) -> bool:
    try:
        read_bundle(bundle)
    except BundleError:
        return False
    return True


def _write(
    folder: Path, trained: Trained, dataset: Dataset, settings: PublishSettings, version: str, task: Task
) -> None:
    """Writes all files of a bundle."""
    learned, half_precision = Learned.load(trained, dataset), settings.half_precision
    if trained.parent is not None:
        golden = write_files(folder, dataset, learned, task, half_precision=half_precision, parent=trained.parent)
        no_text_encoder = copy_text_encoder(trained.parent, folder)
    else:
        with exported_text_encoder(folder, dataset, learned.features.featurizer, trained.text_encoder) as exported:
            golden = write_files(folder, dataset, learned, task, half_precision=half_precision, parent=None)
            task.next_step("the text encoder")
            no_text_encoder = exported()
    task.next_step("checksums")
    seal_bundle(folder, _manifest(trained, dataset, learned, settings, version, no_text_encoder, golden))


def _manifest(
    trained: Trained,
    dataset: Dataset,
    learned: Learned,
    settings: PublishSettings,
    version: str,
    no_text_encoder: str,
    golden: list[Golden],
) -> Manifest:
    own, parent = learned.bonus.own, None if trained.parent is None else trained.parent.manifest
    return Manifest(
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
        event_types=dataset.event_types if learned.retriever.config.num_event_types else (),
        excluding_types=dataset.excluding_types,
        disliking_types=dataset.disliking_types,
        exclude_history=load_repeats(trained.data).exclude_history,
        own_items={} if own is None else asdict(own),
        following_weight=learned.bonus.following,
        half_search=settings.half_precision,
        refit=trained.refit is not None,
        has_features=True,
        has_insight=True,
        is_mapped=len(dataset.items) >= MAPPED_FROM,
        learnt_until=learned.learnt_until,
        retrained_from="" if parent is None else parent.version,
        retrainings=0 if parent is None else parent.retrainings + 1,
        num_first_items=None if parent is None else parent.num_first_items or parent.num_items,
    )
