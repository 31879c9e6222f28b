"""Until when a model has learnt."""

import numpy as np
import pytest

from rqrec.training.bundling.trained import latest_time
from rqrec.training.data.splits import Sequences

READ_AT = 1_700_000_000


@pytest.mark.parametrize(
    ("times", "latest"),
    [
        ([READ_AT - 60, READ_AT], "2023-11-14T22:13:20+00:00"),
        ([READ_AT - 60, READ_AT + 60, 4_102_444_800], "2023-11-14T22:12:20+00:00"),
        ([4_102_444_800], "2023-11-14T22:13:20+00:00"),
        ([], ""),
    ],
)
def test_a_time_after_the_reading_of_the_data_is_not_the_latest(times: list[int], latest: str) -> None:
    times_I, offsets_U = np.array(times, dtype=np.int64), np.array([0, len(times)])
    sequences = Sequences.from_arrays(np.zeros(len(times), dtype=np.int32), offsets_U, times_I=times_I)
    assert latest_time(sequences, READ_AT + 0.5) == latest
