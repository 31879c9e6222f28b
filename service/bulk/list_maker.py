"""Makes the lists of many users by the code that answers POST /recommend.

Shapes: B users, N leaves, I items of all lists.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from rqrec.models.array_types import BoolArray, FloatArray, IntArray
from rqrec.models.bundle.bundle import read_bundle
from rqrec.service.bulk.gathered_search import BulkRuntime, GatheredSearches, eligible_items, run_together
from rqrec.service.catalogue.snapshot import Snapshot
from rqrec.service.contract.recommend import RecommendRequest
from rqrec.service.serving.history import EventTypes
from rqrec.service.serving.loading import LoadOptions, load_proven_snapshot
from rqrec.service.serving.recommending.answer import answer
from rqrec.service.serving.runtime import RequestLimits
from rqrec.service.telemetry import Metrics
from rqrec.service.users.users import Profile

CHUNK = 4096  # users whose answers are in memory at the same time


@dataclass(frozen=True)
class BulkModel:
    """The model of a bulk run.

    Attributes:
        snapshot: The catalogue as it was published, and the search engine.
        event_types: The event types that items of a history may have.
    """

    snapshot: Snapshot
    event_types: EventTypes


class Lists(NamedTuple):
    """The lists of B users, with I items together.

    Attributes:
        num_items_B: The number of items of each list, int64.
        item_ids_I: The items of all lists, one list after the other, best first.
        scores_I: Their scores, float32; NaN for a pinned item without a score.
        is_popular_B: Whether each list is the most popular items.
        num_unknown: The number of history items that the catalogue does not contain.
    """

    num_items_B: IntArray
    item_ids_I: pl.Series
    scores_I: FloatArray
    is_popular_B: BoolArray
    num_unknown: int


class ListMaker:
    """Makes lists with one model, for requests that differ only in their users.

    Args:
        model: The model.
        request: The request that all users share, without a history.
        limits: Limits and default values of one request.
        metrics: The metrics, which nobody reads.

    Raises:
        InvalidFilter: If the filter of the request does not fit the catalogue.
    """

    def __init__(self, model: BulkModel, request: RecommendRequest, limits: RequestLimits, metrics: Metrics) -> None:
        eligible = eligible_items(model.snapshot, request.filter)
        self._runtime = BulkRuntime(GatheredSearches(), metrics, limits, request.filter, eligible)
        self._model, self._request = model, request
        self._item_ids_N = model.snapshot.table.bundle_items.ids

    @classmethod
    def open(cls, folder: Path, options: LoadOptions, request: RecommendRequest, limits: RequestLimits) -> "ListMaker":
        """Loads a bundle, and checks that it gives its recorded answers and that the request fits it.

        Args:
            folder: The folder of the bundle.
            options: How to load the bundle.
            request: The request that all users share, without a history.
            limits: Limits and default values of one request.

        Raises:
            BundleError: If the bundle cannot be served.
            NoDevice: If the engine or the device is not available.
            InvalidPart: If the filter, a cap or a boost does not fit the catalogue.
        """
        bundle, metrics = read_bundle(folder), Metrics()
        snapshot = load_proven_snapshot(bundle, options, metrics)
        maker = cls(BulkModel(snapshot, EventTypes.from_manifest(bundle.manifest)), request, limits, metrics)
        maker.lists([Profile((), request.exclude)])
        return maker

    def lists(self, profiles: Sequence[Profile]) -> Lists:
        """Makes the list of each of B users.

        Args:
            profiles: The history and the exclusions of each user.
        """
        answers = run_together(
            [answer(self._request, profile, self._runtime, self._model, client="") for profile in profiles]
        )
        places_I = np.concatenate([np.empty(0, np.int64), *(one.best.leaves_K for one in answers)])
        return Lists(
            np.array([len(one.best.leaves_K) for one in answers], dtype=np.int64),
            self._item_ids_N.gather(places_I),
            np.concatenate([np.empty(0, np.float32), *(one.best.scores_K for one in answers)], dtype=np.float32),
            np.array([one.is_fallback for one in answers], dtype=np.bool_),
            sum(len(one.unknown) for one in answers),
        )
