"""One retraining: its stages, and their results, computed when they are first read."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rqrec.models.bundle.bundle import Bundle, read_bundle
from rqrec.models.bundle.error import BundleError
from rqrec.models.bundle.item_features import read_item_features
from rqrec.training.bundling.trained import Trained, is_newer
from rqrec.training.data.prepare import load_prepared
from rqrec.training.data.splits import user_sequences
from rqrec.training.evaluate import load_results
from rqrec.training.features.features import load_features
from rqrec.training.publish import publish
from rqrec.training.report.report import write_report
from rqrec.training.retrain.asking.judge import Verdict, judge, load_verdict
from rqrec.training.retrain.data import copy_rqvae, make_features, read_data, tokenize_new_items
from rqrec.training.retrain.gate import Check, check_ids
from rqrec.training.retrain.learn import Learner
from rqrec.training.retrain.settings import AllSettings
from rqrec.training.retrain.targets import held_out_from, with_targets
from rqrec.training.runtime.config import read_settings
from rqrec.training.runtime.workspace import Stage, Workspace
from rqrec.training.tokenize_items import load_semantic_ids


def open_parent(path: Path) -> Bundle:
    """Reads the bundle from which a retraining goes on.

    Args:
        path: A bundle, or a folder of bundles whose `current` link names one.

    Raises:
        BundleError: If there is no such bundle, or it lacks what a retraining needs.
    """
    bundle = read_bundle(path)
    read_item_features(bundle)
    if not bundle.manifest.learnt_until:
        raise BundleError(
            f"bundle {bundle.path} was trained on interactions without times, so new ones cannot be told: train on "
            "data with a column of times since 1970"
        )
    return bundle


def settings_of(parent: Bundle, bindings: Sequence[str] = ()) -> AllSettings:
    """Returns the settings of the full training, which a bundle records, and those of the retraining.

    Args:
        parent: The bundle.
        bindings: Single bindings such as `RetrainSettings.epochs = 2`, which override the recorded ones.
    """
    return read_settings(AllSettings, [], [*parent.manifest.config.splitlines(), *bindings])


@dataclass(frozen=True)
class Retraining:
    """The stages of one retraining. Reading a result runs its stage and the stages before it.

    A stage is skipped if the workspace stores its result for the same bundle, events and settings. So a retraining that
    was interrupted resumes.

    Attributes:
        workspace: The folder that stores the results of all stages.
        parent: The bundle from which the retraining goes on.
        sources: Folders of events and of older interactions.
        settings: The settings of the full training and of the retraining.
        instead_of: What `current` named when the bundle was read, as `target_of_current` returns it. If it names
            another bundle at the end, it stays.
    """

    workspace: Workspace
    parent: Bundle
    sources: tuple[str, ...]
    settings: AllSettings
    instead_of: str | None = None

    @cached_property
    def data(self) -> Stage:
        """The stored result of the stage "retrain_data": items and interactions of all sources."""
        return read_data(self.workspace, self.parent, self.sources, self.settings.dataset)

    @cached_property
    def num_new(self) -> int:
        """Number of interactions that are newer than all that the bundle has learnt."""
        return len(self._new_times)

    @cached_property
    def has_target(self) -> bool:
        """Whether the candidate has something to learn: a new interaction with one of the same user before it."""
        sequences = user_sequences(load_prepared(self.data))
        assert sequences.times_I is not None
        learnt = sequences.only(sequences.times_I < self._until_s)
        return with_targets(learnt, is_newer(learnt, self.parent), replay=0).has_target

    @cached_property
    def num_replayable(self) -> int:
        """Number of older interactions."""
        return len(load_prepared(self.data).interactions) - self.num_new

    @cached_property
    def features(self) -> Stage:
        """The stored result of the stage "retrain_features"."""
        return make_features(self.workspace, self.parent, self.data)

    @cached_property
    def tokens(self) -> Stage:
        """The stored result of the stage "retrain_semantic_ids"."""
        return tokenize_new_items(self.workspace, self.parent, self.features)

    @cached_property
    def checks(self) -> list[Check]:
        """The figures of the gate, and their limits."""
        ids = load_semantic_ids(self.tokens)
        return check_ids(self.parent, load_features(self.features), ids, self.settings)

    @cached_property
    def candidate(self) -> Stage:
        """The retriever that has learnt all but the held-out interactions."""
        return self._learner.learn(self._learner.start(until_s=self._until_s), until_s=self._until_s)

    @cached_property
    def judged(self) -> Stage:
        """The stored result of the stage "retrain_judge"."""
        stages = (self.data, self.features, self.tokens, self.candidate)
        return judge(self.workspace, self.parent, *stages, self.settings, until_s=self._until_s)

    @cached_property
    def verdict(self) -> Verdict:
        """What the judge found."""
        return load_verdict(load_results(self.judged))

    @cached_property
    def bundle(self) -> Path:
        """The folder of the published bundle. Its model has learnt all interactions.

        Reading it raises CurrentMoved if `current` names another bundle than at the start.
        """
        refit = self._learner.learn(self.candidate, until_s=None)
        rqvae = copy_rqvae(self.workspace, self.parent)
        stages = (self.data, self.features, rqvae, self.tokens, self.candidate, self.judged, refit)
        trained = Trained(*stages, text_encoder="", config=self.parent.manifest.config, parent=self.parent)
        report = None
        if self.settings.publish.report:
            trainings = (self.candidate, refit)
            report = write_report(self.workspace, trained, trainings, self._changes, name="retrain_report")
        return publish(self.workspace, trained, self.settings.publish, report, instead_of=self.instead_of)

    @property
    def _changes(self) -> list[str]:
        """What this retraining changed, in sentences for its report."""
        manifest, num_items = self.parent.manifest, len(load_semantic_ids(self.tokens).codes_NL)
        return [
            f"It went on from {manifest.version}, which had learnt until {manifest.learnt_until}, with "
            f"{self.num_new:,} new interactions and {self.num_replayable:,} older ones.",
            f"{num_items - manifest.num_items:,} new items got semantic IDs; the tokenizer and the IDs of the other "
            f"{manifest.num_items:,} items did not change.",
            *(f"{check}." for check in self.checks),
            f"{self.verdict}.",
        ]

    @cached_property
    def _learner(self) -> Learner:
        return Learner(self.workspace, self.parent, self.data, self.features, self.tokens, self.settings)

    @cached_property
    def _new_times(self) -> list[int]:
        sequences = user_sequences(load_prepared(self.data))
        if sequences.times_I is None:  # there are no interactions
            return []
        return sorted(sequences.times_I[is_newer(sequences, self.parent)].tolist())

    @property
    def _until_s(self) -> int:
        """The time before which the candidate learns. If all new interactions have one time, it learns them all."""
        first, cut = self._new_times[0], held_out_from(self._new_times, self.settings.retrain.held_out_share)
        return cut if cut > first else cut + 1
