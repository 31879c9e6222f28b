"""The settings of the split into training, validation and test."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, NonNegativeFloat, NonNegativeInt
from pydantic.dataclasses import dataclass as settings_dataclass

from rqrec.training.runtime.config import Share


def _is_date(text: str) -> str:
    try:
        datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(
            "expected a share in (0, 1), such as 0.9, or an ISO 8601 date, such as '2024-05-31'"
        ) from error
    return text


Date = Annotated[str, AfterValidator(_is_date)]
OpenShare = Annotated[float, Field(gt=0, lt=1)]


@settings_dataclass(frozen=True)
class SplitSettings:
    """How interactions are divided into training, validation and test.

    Attributes:
        kind: "leave-one-out" holds out the last items of each user. "time" trains on the interactions before a date,
            and tests on the interactions after it.
        held_out_items: For "leave-one-out": how many last items of a user are held out. 2: one for test and one for
            validation. 1: one for test; without validation, training runs all its epochs. 0: none; the model is
            published without evaluation.
        held_out_users: For "leave-one-out": the share of the users whose last items are held out. All items of the
            other users are in the training part.
        test_from: For "time": the start of the test period, as an ISO 8601 date such as "2024-05-31" (UTC, unless it
            has a time zone), or as the share of all interactions that come before the test period.
        test_days: For "time": the length of the test period in days; 0 for a period without end.
        validation_share: For "time": the share of the interactions before the test period that is held out for
            validation, the latest ones. 0 for no validation: training then cannot end early and runs all its epochs.
        exclude_history: Whether recommendation lists leave out the items of the user's history: in validation, in
            evaluation, and by default in the service. "auto" leaves them out unless more than a tenth of the test items
            are already in their user's history.
        seed: Seed of the random choice of the held-out users.
    """

    kind: Literal["leave-one-out", "time"] = "leave-one-out"
    held_out_items: Annotated[int, Field(ge=0, le=2)] = 2
    held_out_users: Share = 1.0
    test_from: OpenShare | Date = 0.9
    test_days: NonNegativeFloat = 0.0
    validation_share: Annotated[float, Field(ge=0, lt=1)] = 0.1
    exclude_history: Literal["auto"] | bool = "auto"
    seed: NonNegativeInt = 0
