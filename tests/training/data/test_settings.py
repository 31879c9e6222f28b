from typing import Any

import pytest
from pydantic import ValidationError

from rqrec.training.data.settings import DatasetSettings


@pytest.mark.parametrize("action", [0, 0.001, 1, 1000, "dislike", "exclude", "ignore"])
def test_an_event_type_may_have_a_weight_or_an_action(action: Any) -> None:
    assert DatasetSettings(event_types={"buy": action}).event_types == {"buy": action}


@pytest.mark.parametrize("action", [-1, 1e-60, 1e39, float("nan"), float("inf"), "2", "igore"])
def test_other_actions_of_event_types_are_refused_with_the_range(action: Any) -> None:
    with pytest.raises(ValidationError, match=r"'dislike', 'exclude', 'ignore'.*, a weight from 0.001 to 1000, or 0"):
        DatasetSettings(event_types={"buy": action})
