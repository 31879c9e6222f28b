"""The definition of a controlled list, written plainly for one user and all items."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Film(NamedTuple):
    """An item, its score with the boosts, its values by capped attribute, and its vector at unit length."""

    item_id: str
    score: float
    values: Mapping[str, Sequence[object]]
    unit_D: NDArray[np.float32]


def fits(film: Film, listed: Sequence[Film], caps: Mapping[str, int]) -> bool:
    for attribute, limit in caps.items():
        for value in film.values[attribute]:
            if sum(value in one.values[attribute] for one in listed) >= limit:
                return False
    return True


def merit(film: Film, pool: Sequence[Film], listed: Sequence[Film], diversity: float) -> float:
    lowest, highest = min(one.score for one in pool), max(one.score for one in pool)
    relevance = (film.score - lowest) / (highest - lowest) if highest > lowest else 1.0
    similarity = max([0.0, *(float(film.unit_D @ one.unit_D) for one in listed)])
    return (1 - diversity) * relevance - diversity * similarity


def brute_force(
    ranked: Sequence[Film],
    pinned: Mapping[int, Film],
    *,
    k: int,
    caps: Mapping[str, int],
    diversity: float,
) -> list[str]:
    """The ids of the list. `ranked` are all items that may be listed, best first; `pinned` are films by rank."""
    listed = list(pinned.values())
    pinned_ids = {one.item_id for one in listed}
    chosen: list[Film] = []
    while len(listed) < k:
        taken = pinned_ids | {one.item_id for one in chosen}
        pool = [one for one in ranked if one.item_id not in taken and fits(one, listed, caps)]
        pool = pool[: 4 * k] if diversity else pool
        before = len(listed)
        rest = list(pool)
        while len(listed) < k and (open_films := [one for one in rest if fits(one, listed, caps)]):
            merits = [merit(one, pool, listed, diversity) if diversity else one.score for one in open_films]
            best = open_films[merits.index(max(merits))]
            rest.remove(best)
            listed.append(best)
            chosen.append(best)
        if len(listed) == before:
            break
    if not diversity:
        chosen.sort(key=lambda one: -one.score)
    for rank, film in sorted(pinned.items()):
        chosen.insert(rank - 1, film)
    return [one.item_id for one in chosen]
