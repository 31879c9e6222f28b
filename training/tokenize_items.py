"""Stage: trained RQ-VAE → one unique semantic ID an item, and the figures that tell whether they are any good.

Shapes: N items, L levels, V codes per level.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from models.semantic_ids import append_collision_codes, collision_ratio
from training.features import load_features, make_features
from training.train_rqvae import load_rqvae, train_rqvae
from training.workspace import Stage, Workspace

CODES, FIGURES = "semantic_ids.safetensors", "figures.json"


@dataclass(frozen=True)
class SemanticIds:
    """Unique codes_NL by item_index, the collision level last; V; and the tokenizer's figures."""

    codes_NL: NDArray[np.int64]
    codebook_size: int
    figures: dict[str, float]


@dataclass(frozen=True)
class _NoSettings:
    pass


def tokenize_items(workspace: Workspace) -> Stage:
    """Runs the stage.

    Raises:
        ValueError: If the semantic IDs have collapsed.
    """
    features, rqvae = make_features(workspace), train_rqvae(workspace)

    def write(directory: Path) -> None:
        model = load_rqvae(rqvae)
        features_NE = torch.from_numpy(load_features(features).features_NE)
        with torch.no_grad():
            codes_NL = model.get_codebook_indices(features_NE).numpy()
            losses = model(features_NE, temperature=1.0)
        size = model.config.codebook_size
        figures = {
            "reconstruction_loss": float(losses.reconstruction_loss),
            "rqvae_loss": float(losses.rqvae_loss),
            **codebook_figures(codes_NL, codebook_size=size),
        }
        unique_NL = append_collision_codes(codes_NL, codebook_size=size)
        save_file({"codes_NL": unique_NL, "codebook_size": np.array(size)}, directory / CODES)
        (directory / FIGURES).write_text(json.dumps(figures, indent=2), encoding="utf-8")

    return workspace.run("semantic_ids", inputs=[features, rqvae], settings=_NoSettings(), write=write)


def load_semantic_ids(stage: Stage) -> SemanticIds:
    """Reads what `tokenize_items` saved."""
    arrays = load_file(stage.path / CODES)
    figures = json.loads((stage.path / FIGURES).read_text(encoding="utf-8"))
    return SemanticIds(arrays["codes_NL"], int(arrays["codebook_size"]), figures)


def codebook_figures(codes_NL: NDArray[np.integer], *, codebook_size: int) -> dict[str, float]:
    """How well the codebooks are used, before collisions are resolved.

    Returns:
        For each level `usage_<level>`, the share of codes in use, and `perplexity_<level>`, the exponential of the
        entropy of their use (V if all are used alike); and `collision_ratio`, the share of items that do not have
        their codes to themselves.
    """
    figures = {}
    for level, codes_N in enumerate(codes_NL.T):
        share_V = np.bincount(codes_N, minlength=codebook_size) / len(codes_N)
        used = share_V[share_V > 0]
        figures[f"usage_{level}"] = len(used) / codebook_size
        figures[f"perplexity_{level}"] = float(np.exp(-(used * np.log(used)).sum()))
    figures["collision_ratio"] = collision_ratio(codes_NL, codebook_size=codebook_size)
    return figures
