"""Stage: gives each item a semantic ID with the trained RQ-VAE, and checks that the IDs are usable.

Shapes: N items, L levels, V codes per level, E feature columns.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
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
from rqrec.training.features.features import feature_rows, load_features
from rqrec.training.runtime.parts import Arrays, Parts, RunTasks, run_here
from rqrec.training.runtime.progress import progress
from rqrec.training.runtime.workspace import Stage, Workspace
from rqrec.training.train_rqvae import load_rqvae, load_rqvae_config

CODES, FIGURES = "semantic_ids.safetensors", "figures.json"
ITEMS_OF_A_PART = 4096
CODES_NL, LOSSES = "codes_NL", ("reconstruction_loss", "rqvae_loss")  # means over items


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
    workspace: Workspace,
    data: Stage,
    features: Stage,
    rqvae: Stage,
    settings: SemanticIdSettings,
    *,
    run_tasks: RunTasks = run_here,
) -> Stage:
    """Runs the stage "semantic_ids": computes a unique semantic ID for every item, and stores them in the workspace.

    Args:
        workspace: The folder that stores the results of all stages.
        data: The result of `prepare_data`: the checked data and its split.
        features: The result of `make_features`: the features of all items.
        rqvae: The result of `train_rqvae`: the trained RQ-VAE.
        settings: The limits beyond which semantic IDs count as collapsed.
        run_tasks: Runs the RQ-VAE on parts of the items. An interrupted stage leaves the finished parts.

    Returns:
        The finished stage. Its result is in the folder `Stage.path`; `load_semantic_ids` reads it.

    Raises:
        CollapsedSemanticIds: If too many items have the same or similar codes.
    """

    def write(directory: Path, parts: Path) -> None:
        config, loaded = load_rqvae_config(rqvae), load_features(features)
        num_items, size = len(loaded.features_NE), config.codebook_size
        made = Parts(parts, run_tasks).arrays(
            "codes of all items",
            partial(_open_rqvae, rqvae, features),
            [range(begin, min(begin + ITEMS_OF_A_PART, num_items)) for begin in range(0, num_items, ITEMS_OF_A_PART)],
            unit="items",
        )
        codes_NL = made[CODES_NL]
        figures = {
            **{name: float(made[name].sum() / num_items) for name in LOSSES},
            **codebook_figures(codes_NL, codebook_size=size),
        }
        with progress("comparing codes of similar items"):
            figures |= neighbourhood_figures(codes_NL, loaded.features_NE, load_split(data).train)
        check_not_collapsed(
            figures,
            groups_of_equal_items(loaded.without_identity_NE),
            codebook_size=size,
            num_levels=config.num_levels,
            settings=settings,
        )
        try:
            unique_NL = append_collision_codes(codes_NL, codebook_size=size)
        except ValueError as error:
            raise CollapsedSemanticIds(str(error)) from error
        save_file({CODES_NL: unique_NL, "codebook_size": np.array(size)}, directory / CODES)
        (directory / FIGURES).write_text(json.dumps(figures, indent=2), encoding="utf-8")

    return workspace.run_in_parts("semantic_ids", inputs=[data, features, rqvae], settings=settings, write=write)


def _open_rqvae(rqvae: Stage, features: Stage) -> Callable[[range], Arrays]:
    """Returns a function that computes the codes of adjacent items, and the sum of each loss over them."""
    model = load_rqvae(rqvae)

    def codes_of(rows: range) -> Arrays:
        features_BE = torch.from_numpy(feature_rows(features, rows))
        with torch.no_grad():
            codes_BL, losses = model.get_codebook_indices(features_BE), model(features_BE, temperature=1.0)
        sums = {name: np.array([float(getattr(losses, name)) * len(rows)]) for name in LOSSES}
        return {CODES_NL: codes_BL.numpy(), **sums}

    return codes_of


def load_semantic_ids(stage: Stage) -> SemanticIds:
    """Reads the semantic IDs that `tokenize_items` saved."""
    arrays = load_file(stage.path / CODES)
    figures = json.loads((stage.path / FIGURES).read_text(encoding="utf-8"))
    return SemanticIds(arrays[CODES_NL], int(arrays["codebook_size"]), figures)
