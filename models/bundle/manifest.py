"""What a bundle says of itself."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from reprlib import repr as shortened
from typing import Any

from pydantic import TypeAdapter

from rqrec.models.retriever.config import RetrieverConfig
from rqrec.models.tokenizer.featurizer import MAX_FLOAT32

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Manifest:
    """What a bundle says of itself.

    Attributes:
        format: Version of the bundle's layout.
        version: Name of the model, unique to this training run.
        created_at: ISO 8601 time of publishing, UTC.
        dataset: Name of the data set.
        data_fingerprint: SHA-256 of the data set, hexadecimal.
        num_items: Rows of items.parquet.
        retriever: The fields of `RetrieverConfig`.
        tokenizer: The fields of `RqVaeConfig`.
        metrics: What evaluation measured, by group.
        no_text_encoder: Why the bundle holds no encoder of texts; empty where it holds one.
        golden: Histories and their answers (see `models.bundle.golden`).
        config: The resolved gin configuration, as text.
        checksums: SHA-256 of every file, by name; the manifest's own is over its other fields.
    """

    format: int
    version: str
    created_at: str
    dataset: str
    data_fingerprint: str
    num_items: int
    retriever: Mapping[str, object]
    tokenizer: Mapping[str, object]
    metrics: Mapping[str, Mapping[str, float]]
    no_text_encoder: str
    golden: Sequence[Mapping[str, Sequence[int | float]]]
    config: str
    checksums: Mapping[str, str]

    @property
    def digest(self) -> str:
        """SHA-256 of all that the bundle holds but the time of publishing: equal runs publish bundles of one digest."""
        return manifest_checksum({**asdict(self), "created_at": ""})

    @cached_property
    def retriever_config(self) -> RetrieverConfig:
        """The retriever's sizes.

        Raises:
            ValueError: If a field is missing or of another type.
        """
        return TypeAdapter(RetrieverConfig).validate_json(json.dumps(self.retriever), strict=True)

    @property
    def codebook_size(self) -> int:
        """V, codes per level."""
        return self.retriever_config.codebook_size

    @property
    def relevance_weight(self) -> float:
        """Weight of an item's rating beside its log-probability."""
        return self.retriever_config.relevance_weight

    @property
    def max_history(self) -> int:
        """T, the most recent items that the retriever reads."""
        return self.retriever_config.max_history

    def check(self) -> None:
        """Checks what the types of the fields do not say.

        Raises:
            ValueError: If a field cannot be.
        """
        config, rows = self.retriever_config, self.num_items
        counts = (rows, config.num_levels, config.codebook_size, config.width, config.max_history, config.feature_dim)
        if min(counts) < 1:
            raise ValueError(f"num_items and the retriever's sizes must be at least 1, got {shortened(counts)}")
        if not abs(config.relevance_weight) <= MAX_FLOAT32:
            raise ValueError(f"relevance_weight must be a float32, got {config.relevance_weight}")
        if not self.version.isprintable() or not self.version or "/" in self.version:
            raise ValueError(f"version must be the name of a folder, got {shortened(self.version)}")
        for one in self.golden:
            history, answer, scores = one["history"], one["rows"], one["scores"]
            if not history or len(answer) != len(scores) or not all(map(math.isfinite, scores)):
                raise ValueError("a golden answer needs a history, and a finite score a row")
            if not all(isinstance(row, int) and 0 <= row < rows for row in (*history, *answer)):
                raise ValueError(f"golden rows must be in [0, {rows})")


def manifest_checksum(fields: Mapping[str, Any]) -> str:
    """SHA-256 of the manifest's fields, its own checksum left out."""
    others = {name: checksum for name, checksum in fields["checksums"].items() if name != MANIFEST}
    return hashlib.sha256(json.dumps({**fields, "checksums": others}, sort_keys=True).encode()).hexdigest()
