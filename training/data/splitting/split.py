"""Divides a data set into training, validation and test, by the kind of split that the settings name."""

from rqrec.training.data.dataset import Dataset
from rqrec.training.data.splits import Split, user_sequences
from rqrec.training.data.splitting.leave_one_out import leave_one_out
from rqrec.training.data.splitting.settings import SplitSettings
from rqrec.training.data.splitting.time_split import split_by_time


def split_users(dataset: Dataset, settings: SplitSettings) -> Split:
    """Divides the interactions of a data set into training, validation and test.

    Args:
        dataset: The data set.
        settings: The kind of split, and what is held out from training.

    Raises:
        DataError: If a split by time leaves no training data or no test user, or its dates cannot be used.
    """
    if settings.kind == "time":
        return split_by_time(dataset, settings)
    return leave_one_out(
        user_sequences(dataset),
        held_out_items=settings.held_out_items,
        held_out_users=settings.held_out_users,
        seed=settings.seed,
    )
