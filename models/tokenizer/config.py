"""The configuration of an RQ-VAE: the blocks of its feature columns, and its sizes."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from rqrec.models.tokenizer.quantize import QuantizeMode


class FeatureKind(StrEnum):
    """The kind of a block of feature columns, continuous or multi-hot. It decides the block's reconstruction loss."""

    CONTINUOUS = "continuous"
    MULTI_HOT = "multi_hot"


@dataclass(frozen=True)
class FeatureBlock:
    """A block: adjacent columns of the feature matrix that come from one feature of the items.

    Attributes:
        name: Name of the feature, such as "genres".
        kind: CONTINUOUS for real numbers, with a squared-error loss; MULTI_HOT for zeros and ones, with a binary
            cross-entropy loss.
        width: Number of columns.
        weight: Weight of the block's reconstruction loss. The loss is a mean over the columns of the block.
    """

    name: str
    kind: FeatureKind
    width: int
    weight: float = 1.0


@dataclass(frozen=True)
class RqVaeConfig:
    """The sizes and options of an RQ-VAE.

    Attributes:
        blocks: The blocks of features in the order of their columns; E is the sum of their widths.
        hidden_widths: Widths of the encoder's hidden layers. The decoder has the same widths in reverse order.
        embed_dim: D, the width of the latent vector.
        codebook_size: V, the number of codes per level.
        num_levels: L, the number of codebooks. A semantic ID has one code more, the collision code, which tells items
            with equal codes apart.
        mode: How the gradient passes the choice of a code, which is not differentiable.
        commitment_weight: Weight of the commitment loss.
    """

    blocks: tuple[FeatureBlock, ...]
    hidden_widths: tuple[int, ...]
    embed_dim: int
    codebook_size: int
    num_levels: int
    mode: QuantizeMode
    commitment_weight: float

    @property
    def feature_dim(self) -> int:
        """E, the number of feature columns."""
        return sum(block.width for block in self.blocks)

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> "RqVaeConfig":
        """Makes a configuration from a dictionary of its fields, as `dataclasses.asdict` or JSON gives it."""
        blocks = (FeatureBlock(**{**block, "kind": FeatureKind(block["kind"])}) for block in fields["blocks"])
        return cls(
            **{
                **fields,
                "blocks": tuple(blocks),
                "hidden_widths": tuple(fields["hidden_widths"]),
                "mode": QuantizeMode(fields["mode"]),
            }
        )
