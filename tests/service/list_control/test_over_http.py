import math
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from rqrec.models.bundle.bundle import Bundle
from rqrec.models.vector_index import unit_rows
from rqrec.service.contract.filter import MAX_FILTER_VALUES
from tests.conftest import GENRES
from tests.service.list_control.brute_force import Film, brute_force

HISTORY = ["116", "117", "121"]
IDS = [str(100 + number) for number in range(64)]
CONTROLS: list[dict[str, Any]] = [
    {"caps": {"genres": 1}},
    {"boosts": [{"filter": {"genres": {"any_of": ["War"]}}, "factor": 2}]},
    {"pins": [{"item_id": "150", "rank": 2}]},
    {"diversity": 0.5},
]


def recommend(client: TestClient, **body: Any) -> dict[str, Any]:
    response = client.post("/recommend", json={"history": HISTORY, **body})
    assert response.status_code == 200, response.text
    reply: dict[str, Any] = response.json()
    return reply


def films_of(client: TestClient, bundle: Bundle, history: list[str]) -> list[Film]:
    """All films, best first, as a search finds them whose beams are as wide as the catalogue."""
    units_RD = unit_rows(bundle.learned.vectors_RD)
    row_of = {item_id: row for row, item_id in enumerate(bundle.items["item_id"])}
    reply = recommend(client, history=history, exclude_history=False, k=64, beam_width=64)
    return [
        Film(
            one["item_id"],
            one["score"],
            {"genres": one["payload"]["genres"], "year": [one["payload"]["year"]]},
            units_RD[row_of[one["item_id"]]],
        )
        for one in reply["items"]
    ]


@given(
    history=st.sampled_from([HISTORY, ["100"], []]),
    k=st.integers(1, 20),
    caps=st.dictionaries(st.sampled_from(["genres", "year"]), st.integers(1, 4)),
    lifted=st.lists(st.tuples(st.sampled_from(GENRES), st.sampled_from([0.01, 3.0, 1000.0])), max_size=2),
    pinned=st.lists(st.sampled_from(IDS), unique=True, max_size=2),
    diversity=st.sampled_from([0.0, 0.5, 1.0]),
    excluded=st.sets(st.sampled_from(IDS), max_size=20),
)
def test_a_list_is_that_of_brute_force_if_beams_are_as_wide_as_the_catalogue(
    plain_client: TestClient,
    bundle: Bundle,
    history: list[str],
    k: int,
    caps: dict[str, int],
    lifted: list[tuple[str, float]],
    pinned: list[str],
    diversity: float,
    excluded: set[str],
) -> None:
    films = films_of(plain_client, bundle, history)
    boosted = [
        film._replace(
            score=float(
                np.float32(
                    film.score + sum(math.log(factor) for genre, factor in lifted if genre in film.values["genres"])
                )
            )
        )
        for film in films
    ]
    pins = dict(zip(range(1, k + 1), pinned, strict=False))
    expected = brute_force(
        sorted((film for film in boosted if film.item_id not in excluded), key=lambda film: -film.score),
        {rank: next(film for film in boosted if film.item_id == item_id) for rank, item_id in pins.items()},
        k=k,
        caps=caps,
        diversity=diversity,
    )
    reply = recommend(
        plain_client,
        history=history,
        exclude_history=False,
        k=k,
        beam_width=64,
        caps=caps,
        boosts=[{"filter": {"genres": {"any_of": [genre]}}, "factor": factor} for genre, factor in lifted],
        pins=[{"item_id": item_id, "rank": rank} for rank, item_id in pins.items()],
        diversity=diversity,
        exclude=sorted(excluded),
    )
    assert [item["item_id"] for item in reply["items"]] == expected


@pytest.mark.parametrize("control", CONTROLS)
def test_the_reply_says_what_control_has_done(plain_client: TestClient, control: dict[str, Any]) -> None:
    plain, reply = recommend(plain_client, k=6), recommend(plain_client, k=6, **control)
    num_items = len({item["item_id"] for item in reply["items"]})
    assert num_items == 4 if "caps" in control else 6
    full = {"genres": reply["list_control"]["full_values"].get("genres")} if "caps" in control else {}
    assert sorted(full.get("genres") or ()) == sorted(GENRES if "caps" in control else ())
    assert reply["list_control"] == {"unknown_pins": [], "open_places": 6 - num_items, "full_values": full}
    assert [item["item_id"] for item in reply["items"] if item["pinned"]] == (["150"] if "pins" in control else [])
    assert reply["eligible_items"] == plain["eligible_items"] == 61
    assert [item["rank"] for item in reply["items"]] == [*range(1, num_items + 1)]


def test_a_request_without_control_has_the_reply_it_had(plain_client: TestClient) -> None:
    def content(**body: Any) -> dict[str, Any]:
        reply = recommend(plain_client, k=64, **body)
        return {name: value for name, value in reply.items() if name not in {"recommendation_id", "took_ms"}}

    plain = content()
    assert content(caps={}, boosts=[], pins=[], diversity=0) == plain
    assert plain.keys() == {
        "model_version", "catalogue_version", "items", "unknown_items", "eligible_items", "fallback", "history_source"
    }  # fmt: skip
    assert {*plain["items"][0]} == {"item_id", "rank", "score", "log_prob", "semantic_id", "payload"}


def test_a_pin_outranks_filter_and_exclusions_and_an_unknown_one_is_named(plain_client: TestClient) -> None:
    pins = [{"item_id": "116", "rank": 1}, {"item_id": "unheard-of", "rank": 2}, {"item_id": "101", "rank": 3}]
    only_war = {"genres": {"any_of": ["War"]}}
    reply = recommend(plain_client, pins=pins, exclude=["101"], filter=only_war, k=4, caps={"year": 4})
    assert [(item["item_id"], item["score"]) for item in reply["items"] if item["pinned"]] == [
        ("116", None),
        ("101", None),
    ]
    assert [item["payload"]["genres"] for item in reply["items"]] == [["Horror"], ["War"], ["Animation"], ["War"]]
    assert reply["list_control"]["unknown_pins"] == ["unheard-of"]


TOO_MANY = {"item_id": {"any_of": [str(number) for number in range(MAX_FILTER_VALUES // 2 + 1)]}}


@pytest.mark.parametrize(
    ("body", "pointer", "message"),
    [
        ({"caps": {"colour": 1}}, "/caps/colour", "expected an attribute, got 'colour'; the catalogue's are ['genres'"),
        ({"caps": {"item_id": 1}}, "/caps/item_id", "expected an attribute, got 'item_id'; the catalogue's are"),
        ({"caps": {"genres": 0}}, "/caps/genres", "greater than or equal to 1"),
        ({"caps": {f"a{number}": 1 for number in range(6)}}, "/caps", "expected at most 5 caps, got 6"),
        ({"boosts": [{"filter": {}, "factor": 2}]}, "/boosts/0/filter", "at least 1 item"),
        ({"boosts": [{"filter": {"year": {"gte": 1}}, "factor": 0}]}, "/boosts/0/factor", "greater than or equal"),
        (
            {"boosts": [{"filter": {"year": {"gte": 1}}, "factor": 2}, {"filter": {"x": {"gte": 1}}, "factor": 2}]},
            "/boosts/1/filter/x",
            "unknown attribute",
        ),
        ({"boosts": [{"filter": {"title": {"gte": 1}}, "factor": 2}]}, "/boosts/0/filter/title/gte", "no numbers"),
        ({"boosts": [{"filter": TOO_MANY, "factor": 2}], "filter": TOO_MANY}, "", "at most 10000 values"),
        ({"pins": [{"item_id": "1", "rank": 11}]}, "", "pins: expected ranks of at most k, 10, got 11"),
        ({"pins": [{"item_id": "1", "rank": 1}, {"item_id": "1", "rank": 2}]}, "/pins", "each item_id once"),
        ({"pins": [{"item_id": "1", "rank": 1}, {"item_id": "2", "rank": 1}]}, "/pins", "each rank once, got 1"),
        ({"diversity": 1.1}, "/diversity", "less than or equal to 1"),
        ({"diversity": 0.5, "new_item_share": 0.2}, "", "new_item_share: expected 0 beside caps"),
    ],
)
def test_refuses_control_that_cannot_be(
    plain_client: TestClient, body: dict[str, Any], pointer: str, message: str
) -> None:
    response = plain_client.post("/recommend", json={"history": HISTORY, **body})
    assert response.status_code == 422, response.text
    (fault,) = response.json()["errors"]
    assert fault["pointer"] == pointer
    assert message in fault["detail"]
