"""The RQ-VAE: turns the features of an item into codes by residual quantisation (Lee et al. 2022, arXiv 2203.01941).

Rajput et al. 2023 (arXiv 2305.05065, §3.1) use an RQ-VAE for recommendation.

Shapes: B items, E feature dim, D latent width, L levels, V codes per level.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rqrec.models.tokenizer.config import FeatureBlock, FeatureKind, RqVaeConfig
from rqrec.models.tokenizer.quantize import RESOLUTION, Quantizer, pass_gradient

RARE = 1e-4  # the least probability with which the decoder starts for a label
CONSTANT = 1e-12  # a block does not vary if its variance is at most this share of its mean square


class RqVaeComputedLosses(NamedTuple):
    """The losses and statistics of one batch.

    Attributes:
        loss: The loss to minimise: reconstruction_loss + rqvae_loss, a scalar.
        reconstruction_loss: The weighted sum of the losses of all feature blocks, a scalar. The loss of a block is a
            mean over items and columns.
        rqvae_loss: The mean over items of the codebook and commitment losses, summed over levels.
        embs_norm: The Euclidean norm of each item's quantised vector at each level, shape (B, L).
        p_unique_ids: The number of distinct code tuples in the batch over the number of items, in (0, 1].
    """

    loss: Tensor
    reconstruction_loss: Tensor
    rqvae_loss: Tensor
    embs_norm: Tensor
    p_unique_ids: Tensor


class Quantised(NamedTuple):
    """The result of quantising B latents at all L levels.

    Attributes:
        codes_BL: The code of each latent at each level, int64.
        embeddings_BLD: The quantised vector of each latent at each level. The sum over levels approximates the latent.
        loss_B: The codebook and commitment losses of each latent, summed over levels.
    """

    codes_BL: Tensor
    embeddings_BLD: Tensor
    loss_B: Tensor


class RqVae(nn.Module):
    """An RQ-VAE: an encoder, L codebooks and a decoder.

    The encoder maps E features to a latent of width D. Each codebook quantises the residual that the codebooks before
    it leave. The decoder reconstructs the features from the sum of the quantised vectors of all levels.

    Args:
        config: The sizes and options of the RQ-VAE.

    Raises:
        ValueError: If a size is out of range.
    """

    def __init__(self, config: RqVaeConfig) -> None:
        super().__init__()
        if config.num_levels < 1 or config.feature_dim < 1:
            raise ValueError(f"num_levels and E must be >= 1, got {config.num_levels} and {config.feature_dim}")
        self.config = config
        widths = [config.feature_dim, *config.hidden_widths, config.embed_dim]
        self.encoder = _LinearAndMlp(widths)
        self.decoder = _LinearAndMlp(widths[::-1])
        # The variance of the latents at the start; see `initialise`.
        variance = sum(block.weight for block in config.blocks) or 1.0
        self.levels = nn.ModuleList(
            Quantizer(
                config.codebook_size,
                config.embed_dim,
                mode=config.mode,
                commitment_weight=config.commitment_weight,
                least_error=RESOLUTION * variance,
            )
            for _ in range(config.num_levels)
        )

    @property
    def quantizers(self) -> list[Quantizer]:
        """The codebook of each level, in the order of the levels."""
        return [level for level in self.levels if isinstance(level, Quantizer)]

    def forward(self, features_BE: Tensor, *, temperature: float) -> RqVaeComputedLosses:
        """Computes the losses of a batch.

        Args:
            features_BE: Item features, float, shape (B, E).
            temperature: Temperature of the Gumbel-softmax, above 0. The caller lowers it during training.
        """
        latent_BD = self.encode(features_BE)
        quantised = self.quantise(latent_BD, temperature=temperature)
        decoder_input_BD = pass_gradient(latent_BD, quantised.embeddings_BLD.sum(1), self.config.mode)
        reconstruction_loss = self._reconstruction_loss(self.decoder(decoder_input_BD), features_BE)
        rqvae_loss = quantised.loss_B.mean()
        unique = len(torch.unique(quantised.codes_BL, dim=0))
        return RqVaeComputedLosses(
            reconstruction_loss + rqvae_loss,
            reconstruction_loss,
            rqvae_loss,
            quantised.embeddings_BLD.detach().norm(dim=2),
            torch.tensor(unique / len(features_BE)),
        )

    def encode(self, features_BE: Tensor) -> Tensor:
        """Encodes features as latents of shape (B, D).

        Args:
            features_BE: Item features, float, shape (B, E).

        Raises:
            ValueError: If the number of columns is not E.
        """
        if features_BE.shape[-1] != self.config.feature_dim:
            raise ValueError(f"features must have {self.config.feature_dim} columns, got {features_BE.shape[-1]}")
        return torch.as_tensor(self.encoder(features_BE))

    def quantise(self, latent_BD: Tensor, *, temperature: float = 1.0) -> Quantised:
        """Quantises latents level by level. Each level quantises the residual of the levels before it.

        Args:
            latent_BD: Latents from `encode`, shape (B, D).
            temperature: Temperature of the Gumbel-softmax, above 0.
        """
        residual_BD = latent_BD
        outputs = []
        for quantizer in self.quantizers:
            outputs.append(quantizer(residual_BD, temperature))
            residual_BD = residual_BD - outputs[-1].embeddings_BD
        return Quantised(
            torch.stack([output.codes_B for output in outputs], dim=1),
            torch.stack([output.embeddings_BD for output in outputs], dim=1),
            torch.stack([output.loss_B for output in outputs]).sum(0),
        )

    def get_codebook_indices(self, features_BE: Tensor) -> Tensor:
        """Computes the codes of B items: the number of the nearest codeword at each level, int64 of shape (B, L)."""
        residual_BD = self.encode(features_BE)
        codes = []
        for quantizer in self.quantizers:
            codes.append(quantizer.squared_distances(residual_BD).argmin(dim=1))
            residual_BD = residual_BD - quantizer.codebook_VD[codes[-1]]
        return torch.stack(codes, dim=1)

    @torch.no_grad()
    def initialise(self, features_NE: Tensor, *, seed: int) -> None:
        """Sets the weights so that training starts with residual k-means on the principal components of the features.

        The columns of each block are scaled so that the variance of the block is its weight. The encoder becomes the
        projection to the principal components of the scaled features. The decoder becomes the inverse for continuous
        columns, and predicts the mean of multi-hot columns. Each codebook becomes the k-means centres of its residuals.

        Args:
            features_NE: The features of the whole catalogue, float, shape (N, E).
            seed: The random seed of k-means at the first level. Level l uses `seed + l`.
        """
        mean_E = features_NE.mean(0)
        scales_E = torch.cat([_scale(block, part) for block, part in self._by_block(features_NE)])
        weighted_NE = (features_NE - mean_E) * scales_E
        components_EC = torch.linalg.eigh(weighted_NE.T @ weighted_NE).eigenvectors.flip(1)[:, : self.config.embed_dim]
        encode_CE = (components_EC * scales_E.unsqueeze(1)).T
        kinds = [block.kind for block in self.config.blocks for _ in range(block.width)]
        is_hot_E = torch.tensor([kind is FeatureKind.MULTI_HOT for kind in kinds], device=features_NE.device)
        is_linear_E1 = (~is_hot_E & (scales_E > 0)).unsqueeze(1)
        decode_EC = torch.where(is_linear_E1, components_EC / scales_E.unsqueeze(1), 0)
        count = encode_CE.shape[0]
        for linear in (self.encoder.linear, self.decoder.linear):
            linear.weight.zero_()
        self.encoder.linear.weight[:count] = encode_CE
        self.encoder.linear.bias[:count] = -encode_CE @ mean_E
        self.decoder.linear.weight[:, :count] = decode_EC
        self.decoder.linear.bias.copy_(torch.where(is_hot_E, mean_E.logit(RARE), mean_E))
        residual_ND = self.encode(features_NE)
        for level, quantizer in enumerate(self.quantizers):
            quantizer.initialise(residual_ND, seed=seed + level)
            residual_ND = residual_ND - quantizer.codebook_VD[quantizer.squared_distances(residual_ND).argmin(dim=1)]

    @torch.no_grad()
    def replace_dead_codes(self, features_BE: Tensor) -> int:
        """Replaces dead codes at every level by residuals of a batch (see `Quantizer.replace_dead_codes`).

        Args:
            features_BE: The features of the batch, float, shape (B, E).

        Returns:
            The number of codewords that were replaced, summed over levels.
        """
        residual_BD = self.encode(features_BE)
        moved = 0
        for quantizer in self.quantizers:
            moved += quantizer.replace_dead_codes(residual_BD)
            residual_BD = residual_BD - quantizer.codebook_VD[quantizer.squared_distances(residual_BD).argmin(dim=1)]
        return moved

    def _by_block(self, columns_NE: Tensor) -> Iterator[tuple[FeatureBlock, Tensor]]:
        widths = [block.width for block in self.config.blocks]
        return zip(self.config.blocks, columns_NE.split(widths, dim=1), strict=True)

    def block_losses(self, decoded_BE: Tensor, features_BE: Tensor) -> list[Tensor]:
        """Computes the reconstruction loss of each feature block, a mean over items and columns, without its weight.

        Args:
            decoded_BE: The output of the decoder, shape (B, E): values of continuous columns, logits of multi-hot ones.
            features_BE: The features to reconstruct, shape (B, E).

        Returns:
            A scalar for each block, in the order of the blocks.
        """
        pairs = zip(self._by_block(decoded_BE), self._by_block(features_BE), strict=True)
        return [
            F.binary_cross_entropy_with_logits(decoded, wanted)
            if block.kind is FeatureKind.MULTI_HOT
            else F.mse_loss(decoded, wanted)
            for (block, decoded), (_, wanted) in pairs
        ]

    def _reconstruction_loss(self, decoded_BE: Tensor, features_BE: Tensor) -> Tensor:
        loss = decoded_BE.new_zeros(())
        for block, one in zip(self.config.blocks, self.block_losses(decoded_BE, features_BE), strict=True):
            loss = loss + block.weight * one
        return loss


class _LinearAndMlp(nn.Module):
    """A linear map plus an MLP whose output is zero at the start."""

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        self.linear = nn.Linear(widths[0], widths[-1])
        self.mlp = _mlp(widths)
        last = self.mlp[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.linear(x) + self.mlp(x))


def _scale(block: FeatureBlock, part_NE: Tensor) -> Tensor:
    """The factor of each column that makes a block's variance its weight; 1 for a block that does not vary."""
    variance = part_NE.var(0, correction=0).sum()
    varies = variance > CONSTANT * part_NE.square().mean(0).sum()
    return torch.where(varies, (block.weight / variance).sqrt(), 1.0).expand(block.width)


def _mlp(widths: list[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
