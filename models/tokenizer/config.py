"""The configuration of an RQ-VAE: its feature blocks and sizes."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from rqrec.models.tokenizer.quantize import QuantizeMode


class FeatureKind(StrEnum):
    """The kind of a block's features, which decides its reconstruction loss."""

    CONTINUOUS = "continuous"
    MULTI_HOT = "multi_hot"


@dataclass(frozen=True)
class FeatureBlock:
    """A run of neighbouring feature columns.

    Attributes:
        name: Name of the feature, such as "genres".
        kind: CONTINUOUS has a squared-error loss, MULTI_HOT a binary cross-entropy loss.
        width: Number of columns.
        weight: Weight of the block's reconstruction loss, which is a mean over its columns.
    """

    name: str
    kind: FeatureKind
    width: int
    weight: float = 1.0


@dataclass(frozen=True)
class RqVaeConfig:
    """Sizes and choices of an RQ-VAE.

    Attributes:
        blocks: The blocks of features in the order of their columns; E is the sum of their widths.
        hidden_widths: Widths of the encoder's hidden layers. The decoder has the same widths in reverse order.
        embed_dim: D, the width of latents.
        codebook_size: V, the number of codes per level.
        num_levels: L, the number of levels without the collision level.
        mode: How the gradient passes the choice of a code.
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
        """Makes a configuration from the fields that `dataclasses.asdict` gave, also after JSON."""
        blocks = (FeatureBlock(**{**block, "kind": FeatureKind(block["kind"])}) for block in fields["blocks"])
        return cls(
            **{
                **fields,
                "blocks": tuple(blocks),
                "hidden_widths": tuple(fields["hidden_widths"]),
                "mode": QuantizeMode(fields["mode"]),
            }
        )
