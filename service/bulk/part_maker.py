"""Makes the lists of one slice and writes them: the work of a process or of a Ray actor."""

import functools
import gc
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from rqrec.service.bulk.figures import Figures
from rqrec.service.bulk.list_maker import CHUNK, ListMaker, Lists
from rqrec.service.bulk.output import OutputFolder
from rqrec.service.bulk.reading import RowReader
from rqrec.service.bulk.request import InvalidRequest
from rqrec.service.bulk.source import USER_ID, Slice
from rqrec.service.contract.fields import MAX_HISTORY
from rqrec.service.contract.recommend import RecommendRequest
from rqrec.service.errors import InvalidPart
from rqrec.service.serving.loading import LoadOptions
from rqrec.service.serving.runtime import RequestLimits
from rqrec.service.users.event_rules import EventRule, EventRules


@dataclass(frozen=True)
class Job:
    """What all slices of a bulk run have in common. It can be sent to other processes and compared.

    Attributes:
        bundle: The folder of the bundle.
        load: How to load the bundle.
        request: The request that all users share, as JSON; see `RecommendRequest`.
        limits: Limits and default values of one request.
        rules: The rule of each event type, if the histories are made of events; None if they are those of requests.
        out: The output folder.
    """

    bundle: Path
    load: LoadOptions
    request: str
    limits: RequestLimits
    rules: tuple[tuple[str, EventRule], ...] | None
    out: Path


class PartMaker:
    """Makes the lists of slices with a model that is loaded once.

    Args:
        job: What all slices have in common.

    Raises:
        BundleError: If the bundle cannot be served.
        NoDevice: If the engine or the device is not available.
        InvalidRequest: If the request does not fit the catalogue.
    """

    def __init__(self, job: Job) -> None:
        threadpool_limits(1, user_api="blas")  # as in the service; a process has one core
        request = RecommendRequest.model_validate_json(job.request)
        rules = None if job.rules is None else EventRules(dict(job.rules))
        self._k, self._output = request.k, OutputFolder(job.out)
        self._reader = RowReader(
            min(job.limits.max_history_items, MAX_HISTORY), rules, request.exclude, request.exclude_types
        )
        try:
            self._maker = ListMaker.open(job.bundle, job.load, request, job.limits)
        except InvalidPart as error:
            place = ".".join((*error.within, *error.place))
            raise InvalidRequest(f"the request is invalid: {place}: {error}") from error
        gc.freeze()  # the collector need not look at the items of the catalogue again and again

    def make(self, slice_: Slice) -> Figures:
        """Makes the lists of a slice and writes them.

        Args:
            slice_: The slice.

        Returns:
            The counts of the slice.

        Raises:
            InvalidSource: If the file of the slice was changed.
        """
        rows = self._reader.read(slice_)
        tables, figures = [], Figures(users=slice_.num_rows, skipped=len(rows.skipped))
        for begin in range(0, max(len(rows.usable), 1), CHUNK):
            users = rows.usable[begin : begin + CHUNK]
            lists = self._maker.lists(self._reader.profiles(users))
            tables.append(_table(users[USER_ID], lists))
            figures += self._counted(lists)
        self._output.write_slice(slice_.number, pl.concat(tables), rows.skipped, figures)
        return figures

    def _counted(self, lists: Lists) -> Figures:
        num_empty = int(np.count_nonzero(lists.num_items_B == 0))
        return Figures(
            lists=len(lists.num_items_B) - num_empty,
            items=int(lists.num_items_B.sum()),
            popular=int(np.count_nonzero(lists.is_popular_B)),
            short=int(np.count_nonzero(lists.num_items_B < self._k)),
            empty=num_empty,
            unknown_items=lists.num_unknown,
        )


def _table(user_ids: pl.Series, lists: Lists) -> pl.DataFrame:
    """The rows of the output: `user_id`, `rank` from 1, `item_id` and `score`, null for an item without a score."""
    num_items_B = lists.num_items_B
    first_B = np.cumsum(num_items_B) - num_items_B
    ranks_I = np.arange(1, num_items_B.sum() + 1) - np.repeat(first_B, num_items_B)
    return pl.DataFrame(
        {
            USER_ID: user_ids.gather(np.repeat(np.arange(len(num_items_B)), num_items_B)),
            "rank": pl.Series(ranks_I, dtype=pl.Int32),
            "item_id": lists.item_ids_I,
            "score": pl.Series(lists.scores_I).fill_nan(None),
        }
    )


@functools.lru_cache(maxsize=1)
def part_maker(job: Job) -> PartMaker:
    """Returns the part maker of this process for a job. It is loaded by the first call.

    Args:
        job: What all slices have in common.
    """
    return PartMaker(job)
