"""A run of the training pipeline: the settings of all stages, and their results, computed when they are first read."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from rqrec.models.bundle.store import require_current_link
from rqrec.training.bundling.trained import Trained
from rqrec.training.data.prepare import prepare_data
from rqrec.training.data.settings import DatasetSettings
from rqrec.training.data.splitting.settings import SplitSettings
from rqrec.training.evaluate import evaluate
from rqrec.training.evaluation.report import EvaluationSettings
from rqrec.training.evaluation.semantic_id_health import SemanticIdSettings
from rqrec.training.features.features import FeatureSettings, make_features
from rqrec.training.publish import BUNDLES, PublishSettings, publish
from rqrec.training.refit import needs_refit, refit_decoder, refit_short_term
from rqrec.training.report.report import write_report
from rqrec.training.retriever.decoder_settings import DecoderSettings
from rqrec.training.retriever.short_term_settings import ShortTermSettings
from rqrec.training.runtime.config import settings_as_gin
from rqrec.training.runtime.parts import RunTasks, run_here
from rqrec.training.runtime.workspace import Stage, Workspace
from rqrec.training.tokenize_items import tokenize_items
from rqrec.training.train_decoder import train_decoder
from rqrec.training.train_rqvae import RqVaeSettings, train_rqvae
from rqrec.training.train_short_term import train_short_term


@dataclass(frozen=True)
class RunSettings:
    """The settings of a run. Each attribute is the settings object of one part of the training, such as `decoder`."""

    dataset: DatasetSettings = field(default_factory=DatasetSettings)
    split: SplitSettings = field(default_factory=SplitSettings)
    features: FeatureSettings = field(default_factory=FeatureSettings)
    rqvae: RqVaeSettings = field(default_factory=RqVaeSettings)
    semantic_ids: SemanticIdSettings = field(default_factory=SemanticIdSettings)
    short_term: ShortTermSettings = field(default_factory=ShortTermSettings)
    decoder: DecoderSettings = field(default_factory=DecoderSettings)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    publish: PublishSettings = field(default_factory=PublishSettings)


@dataclass(frozen=True)
class Run:
    """The stages of one training. Reading a result runs its stage and the stages before it.

    A stage is skipped if the workspace stores its result for the same inputs and settings. The stage `data` reads the
    input files once. A file that changes later is not read before the next run.

    Attributes:
        workspace: The folder that stores the results of all stages.
        settings: The settings of every stage.
        run_tasks: Runs the parts of the stages that embed and tokenise items; see `training.runtime.parts`.
    """

    workspace: Workspace
    settings: RunSettings
    run_tasks: RunTasks = run_here

    @cached_property
    def data(self) -> Stage:
        """The stored result of the stage "data": checked data and its split. Reading it runs the stage if needed."""
        return prepare_data(self.workspace, self.settings.dataset, self.settings.split)

    @cached_property
    def features(self) -> Stage:
        """The stored result of the stage "features": item features. Reading it runs the stage if needed."""
        return make_features(self.workspace, self.data, self.settings.features, run_tasks=self.run_tasks)

    @cached_property
    def rqvae(self) -> Stage:
        """The stored result of the stage "rqvae": the trained RQ-VAE. Reading it runs the stage if needed."""
        return train_rqvae(self.workspace, self.features, self.settings.rqvae)

    @cached_property
    def tokens(self) -> Stage:
        """The stored result of the stage "semantic_ids": the ID of each item. Reading it runs the stage if needed."""
        stages, settings = (self.data, self.features, self.rqvae), self.settings.semantic_ids
        return tokenize_items(self.workspace, *stages, settings, run_tasks=self.run_tasks)

    @cached_property
    def short_term(self) -> Stage | None:
        """The stored result of the stage "short_term": the trained short-term encoder. Reading it runs the stage.

        None if the settings have no short-term encoder, whose width is then 0.
        """
        settings, max_history = self.settings.short_term, self.settings.decoder.max_history
        return (
            train_short_term(self.workspace, self.data, settings, max_history=max_history) if settings.width else None
        )

    @cached_property
    def decoder(self) -> Stage:
        """The stored result of the stage "decoder": the trained retriever. Reading it runs the stage if needed."""
        stages = (self.data, self.features, self.tokens)
        return train_decoder(self.workspace, *stages, self.settings.decoder, short_term=self.short_term)

    @cached_property
    def evaluation(self) -> Stage:
        """The stored result of the stage "evaluation": metrics of models. Reading it runs the stage if needed."""
        stages = (self.data, self.features, self.tokens, self.decoder)
        return evaluate(self.workspace, *stages, self.settings.evaluation)

    @cached_property
    def refit(self) -> Stage | None:
        """The stored result of the stage "decoder_refit": the retriever trained further on all interactions.

        None if the settings have no refit, or no interaction is held out. Reading it runs the stage if needed.
        """
        if not self._refits:
            return None
        stages = (self.data, self.features, self.tokens, self.decoder)
        return refit_decoder(self.workspace, *stages, self.settings.decoder, short_term=self.short_term_refit)

    @cached_property
    def short_term_refit(self) -> Stage | None:
        """The stored result of the stage "short_term_refit": the short-term encoder trained further.

        None if there is no refit or no short-term encoder. Reading it runs the stage if needed.
        """
        if not (self._refits and self.short_term):
            return None
        return refit_short_term(self.workspace, self.data, self.short_term, self.settings.short_term)

    @cached_property
    def report(self) -> Stage | None:
        """The stored result of the stage "report": the training report. None if the settings have none.

        Reading it runs the stage if needed, and all stages before it.
        """
        if not self.settings.publish.report:
            return None
        trainings = (self.rqvae, self.short_term, self.decoder, self.short_term_refit, self.refit)
        return write_report(self.workspace, self._trained, [stage for stage in trainings if stage is not None])

    @cached_property
    def bundle(self) -> Path:
        """The folder of the published bundle. Reading it runs all stages if needed, and publishes their results."""
        require_current_link(self.workspace.root / BUNDLES)
        return publish(self.workspace, self._trained, self.settings.publish, self.report)

    @property
    def _refits(self) -> bool:
        return self.settings.publish.refit and needs_refit(self.data)

    @property
    def _trained(self) -> Trained:
        stages = (self.data, self.features, self.rqvae, self.tokens, self.decoder, self.evaluation, self.refit)
        return Trained(*stages, text_encoder=self.settings.features.text_encoder, config=settings_as_gin(self.settings))
