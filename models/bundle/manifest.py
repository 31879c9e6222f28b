"""The manifest: the file `manifest.json` with the metadata of a bundle.

It is written after all other files, so a folder without it is not a complete bundle. It is read before all others.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from reprlib import repr as shortened
from typing import Any

from pydantic import TypeAdapter

from rqrec.models.bundle.checksums import file_checksum, manifest_checksum
from rqrec.models.bundle.error import BundleError, reading
from rqrec.models.bundle.layout import (
    FEATURES,
    MANIFEST,
    READABLE_FORMATS,
    REPORT,
    format_advice,
    needed_files,
)
from rqrec.models.retriever.config import RetrieverConfig
from rqrec.models.search.history.bonus import HistoryBonus
from rqrec.models.search.history.own_weights import OwnItemWeights
from rqrec.models.tokenizer.featurizer import MAX_FLOAT32

# Training records 3 golden answers, with at most 20 items in a history and 10 recommended items.
MAX_GOLDEN, MAX_GOLDEN_ITEMS = 10, 100
MAX_HISTORY = 10_000  # of the HTTP contract
MAX_MANIFEST_BYTES = 4 << 20  # training writes about 10 KB


@dataclass(frozen=True)
class Manifest:
    """The metadata of a bundle: the content of its file `manifest.json`.

    Attributes:
        format: Number of the bundle format, such as 10.
        version: Name of the model version: the data set's name and a hash of all inputs of the bundle. It is the name
            of the bundle's folder too.
        created_at: ISO 8601 time of publishing, UTC.
        dataset: Name of the data set.
        data_fingerprint: SHA-256 of the data set, hexadecimal.
        num_items: Number of rows in items.parquet.
        retriever: The fields of `RetrieverConfig`.
        tokenizer: The fields of `RqVaeConfig`.
        metrics: The results of the evaluation: `metrics[group][name]` is a number. If `refit` is true, they are of the
            model before the refit.
        no_text_encoder: The reason why the bundle has no text encoder; an empty string if it has one.
        golden: The golden answers: histories with the recommendations of the trained model, which the service must
            reproduce before it uses the model. Each is a mapping of the fields of `models.bundle.golden.Golden`.
        config: The resolved gin configuration, as text.
        checksums: SHA-256 of every file by file name, hexadecimal. For `manifest.json` it is the SHA-256 of the
            manifest's fields, without this one checksum.
        event_types: Names of the event types that the retriever can read. `event_types[0]` is the name of type 1; type
            0 is "unknown".
        excluding_types: Names of further event types, such as "hidden". The retriever does not read a history item of
            such a type, and the item is not recommended.
        disliking_types: Names of event types that are dislikes. If the last event of an item in the history is a
            dislike, the item is not recommended. The retriever reads such an event like any other event.
        exclude_history: Whether the service by default recommends no item of the user's history. A request can choose
            otherwise. `manifest.json` has this field only if it is false.
        own_items: The fields of `models.search.history.own_weights.OwnItemWeights`: the bonus that the scores of items
            of the user's history get. Empty if there is no bonus; `manifest.json` then lacks this field.
        following_weight: The weight of the bonus of items that followed the user's last items in the training data; see
            `models.search.history.bonus`. None if there is no bonus; `manifest.json` then lacks this field, and the
            bundle has no table of transitions.
        half_search: Whether the bundle has a search graph in half precision. `manifest.json` has this field only if it
            is false.
        refit: Whether the model was trained further after the evaluation, on all interactions, the held-out ones
            included. `manifest.json` has this field only if it is true.
        has_features: Whether the bundle has the features of its items, so that a retraining can go on from it.
        has_insight: Whether the bundle has the meaning of its codes and a map of its items.
        is_mapped: Whether the bundle has the arrays of a large catalogue as files that are mapped into memory.
        learnt_until: The time of the latest interaction that the model has learnt, ISO 8601, UTC. Empty if the data has
            no times.
        retrained_from: Version of the bundle from which a retraining made this one; empty after a full training.
        retrainings: Number of retrainings since the last full training.
        num_first_items: Number of the items that the last full training knew, which are the first rows. None if it knew
            all items. `manifest.json` has these seven fields only if they differ from `DEFAULTS`.
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
    event_types: Sequence[str] = ()
    excluding_types: Sequence[str] = ()
    disliking_types: Sequence[str] = ()
    exclude_history: bool = True
    own_items: Mapping[str, Sequence[float]] = field(default_factory=dict)
    following_weight: float | None = None
    half_search: bool = True
    refit: bool = False
    has_features: bool = False
    has_insight: bool = False
    is_mapped: bool = False
    learnt_until: str = ""
    retrained_from: str = ""
    retrainings: int = 0
    num_first_items: int | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the files that the service reads at its start, without `manifest.json`."""
        return needed_files(
            half_search=self.half_search,
            is_mapped=self.is_mapped,
            transitions=self.following_weight is not None,
            insight=self.has_insight,
            text_encoder=not self.no_text_encoder,
        )

    @property
    def digest(self) -> str:
        """The SHA-256 of the bundle's content without the time `created_at`, hexadecimal.

        It shows whether two training runs gave the same bundle.
        """
        return manifest_checksum({**self.fields, "created_at": ""})

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of this manifest by name, as they are written to `manifest.json`.

        A field is left out if its value is the default value that `DEFAULTS` lists for it.
        """
        return {name: value for name, value in asdict(self).items() if DEFAULTS.get(name, MISSING) != value}

    @cached_property
    def retriever_config(self) -> RetrieverConfig:
        """The configuration of the retriever, such as its sizes, parsed from the field `retriever`.

        Raises:
            ValueError: If a field is missing or has the wrong type.
        """
        return TypeAdapter(RetrieverConfig).validate_json(json.dumps(self.retriever), strict=True)

    @property
    def history_bonus(self) -> HistoryBonus:
        """The bonus of the candidates that a user's history points at; see `models.search.history`.

        It is parsed from the fields `own_items` and `following_weight`.

        Raises:
            ValueError: If the number of weights is wrong or a weight is not finite.
        """
        if not abs(self.following_weight or 0) <= MAX_FLOAT32:
            raise ValueError(f"following_weight must be finite in float32, got {self.following_weight}")
        own = OwnItemWeights.from_fields(self.own_items) if self.own_items else None
        return HistoryBonus(own, self.following_weight)

    @property
    def codebook_size(self) -> int:
        """V, the number of different codes at each level of the bundle's semantic IDs."""
        return self.retriever_config.codebook_size

    @property
    def relevance_weight(self) -> float:
        """The weight of relevance in an item's score: score = log_prob + relevance_weight * relevance.

        Relevance is the cosine of the user's query and the item's vector, divided by a temperature.
        """
        return self.retriever_config.relevance_weight

    @property
    def max_history(self) -> int:
        """T, the number of most recent items of a history that the bundle's retriever reads."""
        return self.retriever_config.max_history

    def check(self) -> None:
        """Checks this manifest for wrong values that the types of its fields allow, such as a number out of range.

        Raises:
            ValueError: If a value is out of range.
        """
        config, rows = self.retriever_config, self.num_items
        counts = [rows, config.num_levels, config.codebook_size, config.width, config.max_history, config.feature_dim]
        counts += [config.long_term.width] if config.long_term else []
        if (short_term := config.short_term) is not None:
            counts += [short_term.width, short_term.layers, short_term.taps, short_term.filters]
        if min(counts) < 1:
            raise ValueError(f"num_items and the retriever's sizes must be at least 1, got {shortened(counts)}")
        if config.max_history > MAX_HISTORY:
            raise ValueError(f"max_history must be at most {MAX_HISTORY}, got {config.max_history}")
        if not abs(config.relevance_weight) <= MAX_FLOAT32:
            raise ValueError(f"relevance_weight must be a float32, got {config.relevance_weight}")
        names = {*self.event_types, *self.excluding_types}
        if len(names) != len(self.event_types) + len(self.excluding_types) or "" in names:
            raise ValueError(f"the names of event types must be distinct and not empty, got {shortened(names)}")
        if len(self.event_types) != config.num_event_types:
            raise ValueError(
                f"the retriever reads {config.num_event_types} event types, but {len(self.event_types)} have a name"
            )
        _ = self.history_bonus
        if not self.version.isprintable() or not self.version or "/" in self.version:
            raise ValueError(f"version must be a folder's name, got {shortened(self.version)}")
        if self.learnt_until:
            datetime.fromisoformat(self.learnt_until)
        if self.retrainings < 0 or not 0 < (rows if self.num_first_items is None else self.num_first_items) <= rows:
            raise ValueError(f"expected retrainings >= 0 and num_first_items in [1, {rows}], or none")
        self._check_golden()

    def _check_golden(self) -> None:
        if len(self.golden) > MAX_GOLDEN:
            raise ValueError(f"expected at most {MAX_GOLDEN} golden answers, got {len(self.golden)}")
        for one in self.golden:
            history, answer, scores = one["history"], one["rows"], one["scores"]
            if not history or len(answer) != len(scores) or not all(map(math.isfinite, scores)):
                raise ValueError("a golden answer needs a non-empty history and one finite score per row")
            if len(history) > MAX_GOLDEN_ITEMS or len(answer) > MAX_GOLDEN_ITEMS:
                raise ValueError(f"expected at most {MAX_GOLDEN_ITEMS} rows in a golden answer and its history")
            if not all(isinstance(row, int) and 0 <= row < self.num_items for row in (*history, *answer)):
                raise ValueError(f"the rows of a golden answer must be in [0, {self.num_items})")


# Fields that a manifest need not have.
DEFAULTS = {
    "exclude_history": True,
    "own_items": {},
    "following_weight": None,
    "half_search": True,
    "refit": False,
    "has_features": False,
    "has_insight": False,
    "is_mapped": False,
    "learnt_until": "",
    "retrained_from": "",
    "retrainings": 0,
    "num_first_items": None,
}


def seal_bundle(folder: Path, manifest: Manifest) -> None:
    """Writes `manifest.json` with the checksums of the bundle's files. This is the last step of writing a bundle.

    Args:
        folder: The bundle's folder, with all its other files.
        manifest: The manifest to write. Its field `checksums` is not read: the checksums are computed from the files.
    """
    others = {FEATURES: manifest.has_features, REPORT: (folder / REPORT).is_file()}
    files = (*manifest.files, *(name for name, is_there in others.items() if is_there))
    fields = manifest.fields | {"checksums": {name: file_checksum(folder / name) for name in files}}
    fields["checksums"][MANIFEST] = manifest_checksum(fields)
    (folder / MANIFEST).write_text(json.dumps(fields, indent=2), encoding="utf-8")


def read_manifest(folder: Path) -> Manifest:
    """Reads and checks the file `manifest.json` of a bundle. It reads no other file.

    Args:
        folder: The bundle's folder.

    Raises:
        BundleError: If the file is missing, has an unreadable format, or is truncated, altered or invalid.
    """
    path = folder / MANIFEST
    with reading(folder, MANIFEST):
        if not path.is_file():
            raise BundleError(
                f"there is no bundle at {folder} ({MANIFEST} is missing): run `rqrec train` or `make run` to train one"
            )
        if (size := path.stat().st_size) > MAX_MANIFEST_BYTES:
            raise ValueError(f"expected at most {MAX_MANIFEST_BYTES} bytes, got {size}")
        text = path.read_text(encoding="utf-8")
        fields = json.loads(text)
        found = fields.get("format") if isinstance(fields, dict) else None
        if found not in READABLE_FORMATS:
            readable = ", ".join(map(str, READABLE_FORMATS))
            raise BundleError(
                f"bundle format {shortened(found)} of {folder} is not readable (expected {readable}): "
                f"{format_advice(found)}"
            )
        try:
            Manifest(**fields)
        except TypeError as error:
            raise BundleError(f"{path} has missing or unknown fields ({error}): publish the bundle again") from error
        if fields["checksums"].get(MANIFEST) != manifest_checksum(fields):
            raise BundleError(
                f"{path} does not match its own checksum: it was altered; copy or publish the bundle again"
            )
        manifest = TypeAdapter(Manifest).validate_json(text, strict=True)
        manifest.check()
        return manifest
