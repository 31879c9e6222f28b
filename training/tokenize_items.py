"""Stage: gives each item a semantic ID with the trained RQ-VAE, and checks that the IDs are usable.

Shapes: N items, L levels, V codes per level, E feature columns.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from rqrec.models.trie.semantic_ids import append_collision_codes
from rqrec.training.data.prepare import load_split
from rqrec.training.evaluation.semantic_id_health import (
    CollapsedSemanticIds,
    SemanticIdSettings,
    check_not_collapsed,
    codebook_figures,
    neighbourhood_figures,
)
from rqrec.training.features.distinct import groups_of_equal_items
from rqrec.training.features.features import load_features
from rqrec.training.runtime.progress import progress
from rqrec.training.runtime.workspace import Stage, Workspace
from rqrec.training.train_rqvae import load_rqvae

CODES, FIGURES = "semantic_ids.safetensors", "figures.json"


@dataclass(frozen=True)
class SemanticIds:
    """The semantic IDs of all items.

    Attributes:
        codes_NL: The codes of each item, by item_index, int64, shape (N, L). No two items have the same codes. The last
            of these L levels is the collision level, which makes them unique.
        codebook_size: V, the number of codes per level.
        figures: Metrics of the codes without the collision level, by name, such as "collision_ratio"; see
            `training.evaluation.semantic_id_health`.
    """

    codes_NL: NDArray[np.int64]
    codebook_size: int
    figures: dict[str, float]


def tokenize_items(
    workspace: Workspace, data: Stage, features: Stage, rqvae: Stage, settings: SemanticIdSettings
) -> Stage:
    """Runs the stage "semantic_ids": computes a unique semantic ID for every item, and stores them in the workspace.

    Args:
        workspace: The folder that stores the results of all stages.
        data: The result of `prepare_data`: the checked data and its split.
        features: The result of `make_features`: the features of all items.
        rqvae: The result of `train_rqvae`: the trained RQ-VAE.
        settings: The limits beyond which semantic IDs count as collapsed.

    Returns:
        The finished stage. Its result is in the folder `Stage.path`; `load_semantic_ids` reads it.

    Raises:
        CollapsedSemanticIds: If too many items have the same or similar codes.
    """

    def write(directory: Path) -> None:
        model = load_rqvae(rqvae)
        loaded = load_features(features)
        features_NE = torch.from_numpy(loaded.features_NE)
        with torch.no_grad(), progress("codes of all items"):
            codes_NL = model.get_codebook_indices(features_NE).numpy()
            losses = model(features_NE, temperature=1.0)
        size = model.config.codebook_size
        figures = {
            "reconstruction_loss": float(losses.reconstruction_loss),
            "rqvae_loss": float(losses.rqvae_loss),
            **codebook_figures(codes_NL, codebook_size=size),
        }
        with progress("comparing codes of similar items"):
            figures |= neighbourhood_figures(codes_NL, features_NE.numpy(), load_split(data).train)
        check_not_collapsed(
            figures,
            groups_of_equal_items(loaded.without_identity_NE),
            codebook_size=size,
            num_levels=model.config.num_levels,
            settings=settings,
        )
        try:
            unique_NL = append_collision_codes(codes_NL, codebook_size=size)
        except ValueError as error:
            raise CollapsedSemanticIds(str(error)) from error
        save_file({"codes_NL": unique_NL, "codebook_size": np.array(size)}, directory / CODES)
        (directory / FIGURES).write_text(json.dumps(figures, indent=2), encoding="utf-8")

    return workspace.run("semantic_ids", inputs=[data, features, rqvae], settings=settings, write=write)


def load_semantic_ids(stage: Stage) -> SemanticIds:
    """Reads the semantic IDs that `tokenize_items` saved."""
    arrays = load_file(stage.path / CODES)
    figures = json.loads((stage.path / FIGURES).read_text(encoding="utf-8"))
    return SemanticIds(arrays["codes_NL"], int(arrays["codebook_size"]), figures)
