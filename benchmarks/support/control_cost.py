"""Measures how much longer a request takes with list control than without."""

import json
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

CONTROLS: Mapping[str, Mapping[str, Any]] = {  # of MovieLens
    "caps": {"caps": {"genres": 3}},
    "tight caps": {"caps": {"genres": 2}},
    "boost of many items": {"boosts": [{"filter": {"genres": {"any_of": ["Comedy"]}}, "factor": 1.5}]},
    "boost of few items": {"boosts": [{"filter": {"genres": {"any_of": ["Western"]}}, "factor": 1.5}]},
    "pins": {"pins": [{"item_id": "50", "rank": 1}, {"item_id": "100", "rank": 5}]},
    "diversity": {"diversity": 0.3},
}


def control_cost(
    url: str, bodies: Sequence[Mapping[str, Any]], control: Mapping[str, Any], *, rounds: int = 3
) -> float:
    """Returns the median time of requests with list control, divided by that of the same requests without.

    Every request is sent twice in turn, without and with control, on one connection. The ratio is the median of the
    ratios of all rounds.

    Args:
        url: The address of a running service.
        bodies: Bodies of requests without list control.
        control: The fields of list control that are added to each body.
        rounds: How often all bodies are sent.
    """
    contents = [(json.dumps(dict(body)), json.dumps({**body, **control})) for body in bodies]
    ratios = []
    with httpx.Client(base_url=url) as client:
        for number in range(rounds + 1):
            times: tuple[list[float], list[float]] = ([], [])
            for pair in contents:
                for content, seconds in zip(pair, times, strict=True):
                    begin = time.perf_counter()
                    client.post("/recommend", content=content).raise_for_status()
                    seconds.append(time.perf_counter() - begin)
            if number:  # the first round warms up
                ratios.append(statistics.median(times[1]) / statistics.median(times[0]))
    return statistics.median(ratios)
