import pytest

from rqrec.training.runtime.checkpoint import Progress
from rqrec.training.runtime.schedule import Schedule


def test_rate_warms_up_and_decays() -> None:
    schedule = Schedule(10, 1.0, 0.1, 1.0, 1000)
    rates = [schedule.rate(done) for done in (0.05, 0.1, 0.55, 1.0)]
    assert rates == pytest.approx([0.5, 1.0, 0.525, 0.05])


def test_the_last_epoch_is_validated_whatever_the_interval() -> None:
    schedule = Schedule(5, 1.0, 0.1, 1.0, 1000, validate_every_epochs=2)
    assert [schedule.validates_after(epoch) for epoch in (1, 2, 3, 4, 5)] == [False, True, False, True, True]


def test_training_is_over_after_its_epochs_or_its_patience() -> None:
    schedule = Schedule(9, 1.0, 0.1, 1.0, 1000, validate_every_epochs=2, patience=2)
    assert not schedule.is_over(Progress(epoch=5, best_epoch=2))
    assert schedule.is_over(Progress(epoch=6, best_epoch=2))
    assert schedule.is_over(Progress(epoch=9, best_epoch=8))
    assert not schedule.is_over(Progress(epoch=8))
