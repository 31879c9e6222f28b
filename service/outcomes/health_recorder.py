"""Records how a model answers its requests: errors, short lists, and how long the answers take."""

import math

from rqrec.service.outcomes.guardrails import Health

SHORTEST_S, GROWTH, NUM_TIMES = 1e-4, 1.05, 320  # up to 10 minutes, each time 5 % longer than the one before
LOG_GROWTH = math.log(GROWTH)


class HealthRecorder:
    """Records the health of one model in one trial. Its memory does not grow with the requests."""

    def __init__(self) -> None:
        self._errors = self._short_lists = 0
        self._times = [0] * NUM_TIMES  # how many answers took up to SHORTEST_S * GROWTH ** place

    def add_answer(self, seconds: float, *, is_short: bool) -> None:
        """Records an answer.

        Args:
            seconds: How long it took.
            is_short: Whether it had fewer items than were asked for.
        """
        place = math.ceil(math.log(max(seconds, SHORTEST_S) / SHORTEST_S) / LOG_GROWTH)
        self._times[min(place, NUM_TIMES - 1)] += 1
        self._short_lists += is_short

    def add_error(self) -> None:
        """Records a request that the model failed to answer."""
        self._errors += 1

    @property
    def health(self) -> Health:
        """The health since the recorder was made. The time is at most 5 % above the true one."""
        answers = sum(self._times)
        left, place = math.ceil(0.99 * answers), 0
        while left > self._times[place]:
            left -= self._times[place]
            place += 1
        p99_s = SHORTEST_S * GROWTH**place if answers else 0.0
        return Health(answers + self._errors, self._errors, self._short_lists, p99_s)
