"""What the sections of the training report read: the results of the stages, with samples of large catalogues.

Shapes: N items, L levels, E feature columns, S sampled items, F width of the short-term encoder.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from rqrec.models.tokenizer.featurizer import Featurizer
from rqrec.models.tokenizer.rqvae import RqVae
from rqrec.training.bundling.trained import Learned, Trained
from rqrec.training.data.dataset import ITEM_ID, Dataset
from rqrec.training.data.prepare import load_prepared, load_report
from rqrec.training.evaluate import load_results
from rqrec.training.evaluation.details import EvaluationDetails
from rqrec.training.runtime.curves import Curve, load_curves
from rqrec.training.runtime.workspace import Stage
from rqrec.training.tokenize_items import SemanticIds

MAX_SAMPLED = 4000
MAX_COMPARED = 20_000
LONGEST_NAME = 48  # characters


@dataclass(frozen=True)
class Material:
    """The results of a run, as the sections of its report read them. Tables are by item_index.

    Attributes:
        dataset: The items and interactions.
        decisions: One sentence for everything that was read, dropped or changed in the data.
        curves: By name of a training stage, what it recorded, by name of the curve.
        ids: The semantic IDs, with their figures.
        rqvae: The trained RQ-VAE.
        featurizer: Says what each feature column means.
        popularity_N: Number of interactions of each item that the published model has learnt.
        sample_S: Rows of randomly chosen items, ascending; all rows of a small catalogue.
        features_SE: The features of these items, float32.
        compared_C: Rows of the most popular items, most popular first.
        features_CE: The features of these items, float32.
        embeddings_NF: The items' embeddings in the short-term encoder, float32; None if the model has none.
        results: The metrics of every model; see `training.evaluate.load_results`.
        details: What was measured for each test user; None if there are no test users or they were not recorded.
        changes: After a retraining, sentences about what changed; else empty.
    """

    dataset: Dataset
    decisions: Sequence[str]
    curves: Mapping[str, Mapping[str, Curve]]
    ids: SemanticIds
    rqvae: RqVae
    featurizer: Featurizer
    popularity_N: NDArray[np.int64]
    sample_S: NDArray[np.int64]
    features_SE: NDArray[np.float32]
    compared_C: NDArray[np.int64]
    features_CE: NDArray[np.float32]
    embeddings_NF: NDArray[np.float32] | None
    results: Mapping[str, Mapping[str, float]]
    details: EvaluationDetails | None
    changes: Sequence[str] = ()

    @classmethod
    def load(cls, trained: Trained, trainings: Sequence[Stage], changes: Sequence[str] = ()) -> "Material":
        """Reads what the report shows from the results of the stages.

        Args:
            trained: The results of the stages that are published.
            trainings: The stages whose curves are shown, in their order.
            changes: After a retraining, sentences about what changed.
        """
        dataset = load_prepared(trained.data)
        learned = Learned.load(trained, dataset)
        features_NE, popularity_N = learned.features.features_NE, learned.popularity_N
        num_items = len(features_NE)
        sample_S = np.sort(np.random.default_rng(0).permutation(num_items)[:MAX_SAMPLED])
        compared_C = np.argsort(-popularity_N, kind="stable")[:MAX_COMPARED]
        short_term = learned.retriever.short_term
        return cls(
            dataset,
            load_report(trained.data),
            {stage.path.name: load_curves(stage.path) for stage in trainings},
            learned.ids,
            learned.tokenizer,
            learned.features.featurizer,
            popularity_N,
            sample_S,
            features_NE[sample_S],
            compared_C,
            features_NE[compared_C],
            None if short_term is None else short_term.items.weight.detach().numpy(),
            load_results(trained.evaluation),
            EvaluationDetails.load(trained.evaluation.path),
            changes,
        )

    @cached_property
    def latents_SD(self) -> NDArray[np.float32]:
        """The latent vectors of the sampled items, which the RQ-VAE quantises."""
        with torch.no_grad():
            latents_SD: NDArray[np.float32] = self.rqvae.encode(torch.from_numpy(self.features_SE)).numpy()
        return latents_SD

    @property
    def items(self) -> pl.DataFrame:
        """The attributes of all items."""
        return self.dataset.items

    def names(self, rows: NDArray[np.int64]) -> list[str]:
        """Returns the names of items for people: the first of the attributes with words, else the item_id.

        Args:
            rows: Rows of the items, int64.
        """
        columns = [name for name in self.featurizer.text_attributes if self.items.schema[name] == pl.String]
        chosen = self.items[rows.tolist()]
        names = chosen[columns[0]].fill_null(chosen[ITEM_ID]) if columns else chosen[ITEM_ID]
        return [name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…" for name in names.to_list()]
