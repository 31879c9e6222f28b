"""Measures an RQ-VAE on a sample of items: how evenly codes are used, what quantisation leaves, what is reconstructed.

Shapes: B items, L levels, E feature columns, V codes per level.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from rqrec.models.tokenizer.config import FeatureKind
from rqrec.models.tokenizer.rqvae import CONSTANT, RqVae
from rqrec.training.evaluation.semantic_id_health import perplexity_of


@torch.no_grad()
def measure_rqvae(model: RqVae, features_BE: Tensor) -> dict[str, float]:
    """Measures an RQ-VAE as it serves: with the nearest codes, without the noise of the Gumbel-softmax.

    Args:
        model: The RQ-VAE. It is switched to evaluation mode.
        features_BE: The features of the sample, float32, shape (B, E), on the model's device.

    Returns:
        `loss`, the loss of the sample. For each level: `perplexity_<level>`, the exponential of the entropy of its
        codes; `unused_<level>`, the share of codes that no item of the sample has; `residual_<level>`, the root mean
        square of what the levels up to this one leave of the latents, as a share of that of the latents. For each
        feature block that varies: `explained_<block>`, see `explained_by_block`.
    """
    model.eval()
    losses, latent_BD = model(features_BE, temperature=1.0), model.encode(features_BE)
    quantised = model.quantise(latent_BD)
    measures, whole = {"loss": float(losses.loss)}, float(latent_BD.square().sum())
    for level, codes_B in enumerate(quantised.codes_BL.T):
        counts_V = torch.bincount(codes_B, minlength=model.config.codebook_size)
        left_BD = latent_BD - quantised.embeddings_BLD[:, : level + 1].sum(1)
        measures[f"perplexity_{level}"] = perplexity_of((counts_V / len(codes_B)).cpu().numpy())
        measures[f"unused_{level}"] = float((counts_V == 0).float().mean())
        measures[f"residual_{level}"] = (float(left_BD.square().sum()) / whole) ** 0.5 if whole else 0.0
    explained = explained_by_block(model, features_BE, quantised.embeddings_BLD.sum(1))
    return measures | {f"explained_{name}": share for name, share in explained.items()}


@torch.no_grad()
def explained_by_levels(model: RqVae, features_BE: Tensor) -> list[Mapping[str, float]]:
    """Measures how much of the features the first levels reconstruct together.

    Args:
        model: The RQ-VAE, in evaluation mode.
        features_BE: The features of the sample, float32, shape (B, E).

    Returns:
        For 1, 2, …, L levels, the result of `explained_by_block`.
    """
    embeddings_BLD = model.quantise(model.encode(features_BE)).embeddings_BLD
    return [
        explained_by_block(model, features_BE, embeddings_BLD[:, :levels].sum(1))
        for levels in range(1, embeddings_BLD.shape[1] + 1)
    ]


@torch.no_grad()
def explained_by_block(model: RqVae, features_BE: Tensor, latent_BD: Tensor) -> dict[str, float]:
    """Measures how much of each feature block the decoder reconstructs from latents.

    Args:
        model: The RQ-VAE.
        features_BE: The features of the sample, float32, shape (B, E).
        latent_BD: The latents to decode, such as the sum of the quantised vectors.

    Returns:
        By block name, 1 - loss / loss of the mean: 1 for a perfect reconstruction, 0 for one that is no better than the
        mean of each column, below 0 for a worse one. Blocks that do not vary in the sample are left out.
    """
    blocks = model.config.blocks
    kinds = [block.kind for block in blocks for _ in range(block.width)]
    is_hot_E = torch.tensor([kind is FeatureKind.MULTI_HOT for kind in kinds], device=features_BE.device)
    mean_E = features_BE.mean(0)
    mean_BE = torch.where(is_hot_E, mean_E.logit(1e-6), mean_E).expand_as(features_BE)
    losses = model.block_losses(model.decoder(latent_BD), features_BE)
    worst = model.block_losses(mean_BE, features_BE)
    parts = features_BE.split([block.width for block in blocks], dim=1)
    return {
        block.name: 1 - float(loss) / float(mean)
        for block, loss, mean, part in zip(blocks, losses, worst, parts, strict=True)
        if part.var(0, correction=0).sum() > CONSTANT * part.square().mean(0).sum()
    }
