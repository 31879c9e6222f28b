"""One level of residual quantisation: a codebook, with its losses and its initialisation.

It also replaces dead codes, which few or no rows choose.

Shapes: B rows, N rows of the whole catalogue, V codes, D latent width.
"""

import warnings
from enum import StrEnum
from typing import NamedTuple

import torch
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor, nn
from torch.nn import functional as F

from rqrec.models.tokenizer.gumbel import gumbel_softmax

DEAD_SHARE = 0.03  # a code is dead if it has less than this share of its usage under even usage
# The smallest squared error that counts, as a share of the rows' variance. Squared distances in float32 are exact to
# about 1e-7 of it.
RESOLUTION = 1e-6


class QuantizeMode(StrEnum):
    """The ways in which the gradient passes the choice of a code, which is not differentiable.

    GUMBEL_SOFTMAX: In training, the quantised row is a weighted mean of codewords (Jang et al. 2017, arXiv 1611.01144).
    STRAIGHT_THROUGH: The gradient is copied past the choice (van den Oord et al. 2017, arXiv 1711.00937).
    ROTATION_TRICK: The gradient is rotated and scaled (Fifty et al. 2024, arXiv 2410.06424).
    """

    GUMBEL_SOFTMAX = "gumbel_softmax"
    STRAIGHT_THROUGH = "straight_through"
    ROTATION_TRICK = "rotation_trick"


class QuantizeOutput(NamedTuple):
    """The result of quantising B rows with one codebook.

    Attributes:
        codes_B: The number of the nearest codeword of each row, int64.
        embeddings_BD: The quantised rows, shape (B, D). With Gumbel-softmax in training, they are weighted means of
            codewords; else they are the nearest codewords, without gradient.
        loss_B: The codebook loss plus the weighted commitment loss of each row.
    """

    codes_B: Tensor
    embeddings_BD: Tensor
    loss_B: Tensor


class Quantizer(nn.Module):
    """A codebook of V codewords, vectors of width D. It quantises a row (a vector) to its nearest codeword.

    Args:
        codebook_size: V, the number of codewords, above 1.
        embed_dim: D, the width of rows and codewords.
        mode: How the gradient passes the choice of a code, which is not differentiable.
        commitment_weight: Weight of the commitment loss beside the codebook loss (β in van den Oord et al. 2017).
        least_error: If the squared error of a row is at most this, the row counts as reproduced exactly, and its error
            as rounding. Such a row replaces no dead codeword. Above 0, because rounding alone causes a small error.

    Raises:
        ValueError: If codebook_size is not above 1.
    """

    codebook_VD: Tensor

    def __init__(
        self,
        codebook_size: int,
        embed_dim: int,
        *,
        mode: QuantizeMode,
        commitment_weight: float,
        least_error: float = RESOLUTION,
    ) -> None:
        super().__init__()
        if codebook_size <= 1:
            raise ValueError(f"codebook_size must be > 1, got {codebook_size}")
        self.mode = QuantizeMode(mode)
        self.commitment_weight = commitment_weight
        self.least_error = least_error
        self.codebook_VD = nn.Parameter(torch.randn(codebook_size, embed_dim))

    def forward(self, x_BD: Tensor, temperature: float) -> QuantizeOutput:
        """Quantises rows and computes their losses.

        Args:
            x_BD: Rows, shape (B, D): latents at the first level, residuals at the others.
            temperature: Temperature of the Gumbel-softmax, above 0; the other modes ignore it.
        """
        distances_BV = self.squared_distances(x_BD)
        codes_B = distances_BV.argmin(dim=1)
        nearest_BD = self.codebook_VD[codes_B]
        embeddings_BD = nearest_BD.detach()
        if self.mode is QuantizeMode.GUMBEL_SOFTMAX and self.training:
            # The logits are the posterior of a mixture of Gaussians whose variance is the present error. So a
            # temperature means the same at every level, for residuals of any size. A level that reproduces its rows
            # has only the error of rounding, which is no variance to divide by.
            error = distances_BV.min(dim=1).values.mean().detach().clamp_min(self.least_error)
            weights_BV = gumbel_softmax(-distances_BV * (x_BD.shape[1] / (2 * error)), temperature)
            embeddings_BD = weights_BV @ self.codebook_VD
        # The loss is that of the nearest codeword in every mode. With a loss of soft mixes, codewords drift together.
        codebook_loss_B = (x_BD.detach() - nearest_BD).square().mean(dim=1)
        commitment_loss_B = (x_BD - nearest_BD.detach()).square().mean(dim=1)
        return QuantizeOutput(codes_B, embeddings_BD, codebook_loss_B + self.commitment_weight * commitment_loss_B)

    def squared_distances(self, x_BD: Tensor) -> Tensor:
        """Computes the squared Euclidean distance of each row to each codeword, shape (B, V)."""
        products_BV = x_BD @ self.codebook_VD.T
        return x_BD.square().sum(1, keepdim=True) - 2 * products_BV + self.codebook_VD.square().sum(1)

    @torch.no_grad()
    def initialise(self, x_ND: Tensor, *, seed: int) -> None:
        """Sets the codewords to the k-means centres of the rows (Zeghidour et al. 2021, arXiv 2107.03312, §III-C).

        If there are fewer distinct rows than codewords, the spare codewords repeat rows and stay unused. If all rows
        are 0 except for rounding, because earlier levels reproduce them, all codewords become 0.

        Args:
            x_ND: The rows of the whole catalogue, shape (N, D): latents at the first level, residuals at the others.
            seed: The random seed of k-means.

        Raises:
            ValueError: If there are no rows.
        """
        if len(x_ND) == 0:
            raise ValueError("k-means needs at least one row, got none: pass the rows of the whole catalogue")
        size = len(self.codebook_VD)
        if float(x_ND.square().sum(1).mean()) <= self.least_error:
            self.codebook_VD.zero_()
            return
        distinct_ND = torch.unique(x_ND, dim=0)
        if len(distinct_ND) <= size:
            self.codebook_VD.copy_(distinct_ND[torch.arange(size) % len(distinct_ND)])
            return
        with warnings.catch_warnings():  # rows that differ by rounding only are one cluster
            warnings.simplefilter("ignore", ConvergenceWarning)
            centres = KMeans(n_clusters=size, n_init=1, random_state=seed).fit(x_ND.cpu().numpy()).cluster_centers_
        self.codebook_VD.copy_(torch.from_numpy(centres))

    @torch.no_grad()
    def replace_dead_codes(self, x_BD: Tensor) -> int:
        """Replaces the codewords of dead codes by the rows that have the largest quantisation errors.

        A code is dead if few or no rows of the batch choose it (see `DEAD_SHARE`). A row whose error counts as rounding
        replaces no codeword, so some codes may stay dead.

        Args:
            x_BD: The rows of a batch, shape (B, D).

        Returns:
            The number of codewords that were replaced.
        """
        nearest_B = self.squared_distances(x_BD).min(dim=1)
        size = len(self.codebook_VD)
        counts_V = torch.bincount(nearest_B.indices, minlength=size)
        badly_served = int((nearest_B.values > self.least_error).sum())
        dead = torch.nonzero(counts_V < DEAD_SHARE * len(x_BD) / size).flatten()[:badly_served]
        worst_first = nearest_B.values.argsort(descending=True)
        self.codebook_VD[dead] = x_BD[worst_first[: len(dead)]]
        return len(dead)


def pass_gradient(x_BD: Tensor, quantised_BD: Tensor, mode: QuantizeMode) -> Tensor:
    """Returns the quantised rows, and lets the gradient of the result flow back to the original rows.

    Args:
        x_BD: The original rows, shape (B, D).
        quantised_BD: The quantised rows, shape (B, D).
        mode: How the gradient flows back. With GUMBEL_SOFTMAX, `quantised_BD` is returned as it is, because it has a
            gradient already.

    Returns:
        Rows with the values of `quantised_BD`, shape (B, D).
    """
    if mode is QuantizeMode.STRAIGHT_THROUGH:
        return x_BD + (quantised_BD - x_BD).detach()
    if mode is QuantizeMode.ROTATION_TRICK:
        return _rotate(x_BD, quantised_BD.detach())
    return quantised_BD  # the soft mix carries its own gradient


def _rotate(x_BD: Tensor, quantised_BD: Tensor) -> Tensor:
    """Maps x to its quantised row by a constant rotation and scale (arXiv 2410.06424, eq. 4 in Householder form)."""
    from_BD = F.normalize(x_BD, dim=1).detach()
    to_BD = F.normalize(quantised_BD, dim=1)
    half_BD = F.normalize(from_BD + to_BD, dim=1)
    tiny = torch.finfo(x_BD.dtype).tiny
    scale_B1 = (quantised_BD.norm(dim=1, keepdim=True) / x_BD.norm(dim=1, keepdim=True).clamp_min(tiny)).detach()
    reflected_BD = x_BD - 2 * (x_BD * half_BD).sum(1, keepdim=True) * half_BD
    rotated_BD: Tensor = scale_B1 * (reflected_BD + 2 * (x_BD * from_BD).sum(1, keepdim=True) * to_BD)
    return rotated_BD
