"""Explained lists over HTTP, compared with real requests without one history item."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from rqrec.models.bundle.bundle import Bundle
from rqrec.service.contract.replies import RecommendReply
from rqrec.service.search import candidate_search

HISTORY = ["101", "117", "103", "101", "108", "120"]


def answer(client: TestClient, **fields: object) -> dict[str, Any]:
    response = client.post("/recommend", json={"beam_width": 100, **fields})
    assert response.status_code == 200, response.text
    reply: dict[str, Any] = response.json()
    return reply


@pytest.mark.parametrize("at_once", [20, 4])
@pytest.mark.parametrize(
    "control",
    [
        {},
        {
            "caps": {"genres": 1},
            "boosts": [{"filter": {"year": {"gte": 1990}}, "factor": 3}],
            "pins": [{"item_id": HISTORY[0], "rank": 2}],
            "diversity": 0.5,
        },
    ],
)
def test_without_the_history_item_that_is_named_first_the_score_falls_most(
    plain_client: TestClient, control: dict[str, Any], at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidate_search, "EXPLAINED_AT_ONCE", at_once)
    reply = answer(plain_client, history=HISTORY, k=5, explain=True, **control)
    RecommendReply.model_validate(reply)
    plain = answer(plain_client, history=HISTORY, k=5, **control)
    assert [one["item_id"] for one in reply["items"]] == [one["item_id"] for one in plain["items"]]
    everything = {"k": 64, "exclude_history": False}
    full = answer(plain_client, history=HISTORY, **everything)
    whole, log_probs = scores(full), {one["item_id"]: one["log_prob"] for one in full["items"]}
    without = [
        scores(answer(plain_client, history=HISTORY[:number] + HISTORY[number + 1 :], **everything))
        for number in range(len(HISTORY))
    ]
    for item in reply["items"]:
        lost = [whole[item["item_id"]] - one[item["item_id"]] for one in without]
        named = [(one["item_id"], one["contribution"]) for one in item["explanation"]["history"]]
        assert named[0][0] == HISTORY[lost.index(max(lost))]
        expected = sorted(zip(HISTORY, lost, strict=True), key=lambda pair: -pair[1])
        assert [one for _, one in named] == pytest.approx([loss for _, loss in expected], abs=1e-3)
        levels = item["explanation"]["levels"]
        assert [one["code"] for one in levels] == item["semantic_id"]
        assert sum(one["log_prob"] for one in levels) == pytest.approx(log_probs[item["item_id"]], abs=1e-3)
    assert reply["beams"] is not None


def test_an_explanation_names_what_items_share_what_codes_mean_and_what_the_search_kept(
    plain_client: TestClient, bundle: Bundle
) -> None:
    reply = answer(plain_client, history=HISTORY, k=3, explain=True)
    genres = dict(bundle.items.select("item_id", "genres").iter_rows())
    for item in reply["items"]:
        for one in item["explanation"]["history"]:
            same = [genre for genre in genres[one["item_id"]] if genre in genres[item["item_id"]]]
            assert one["shared"].get("genres", []) == same
        (code, *_), first = item["semantic_id"], item["explanation"]["levels"][0]
        assert first["meaning"] == plain_client.get(f"/semantic-ids/{code}").json()["meaning"]
    assert [len(level[0]) for level in reply["beams"]] == list(range(1, bundle.learned.codes_RL.shape[1] + 1))
    assert all(item["semantic_id"] in reply["beams"][-1] for item in reply["items"])


def test_the_popular_fallback_has_codes_and_no_contributions(plain_client: TestClient) -> None:
    reply = answer(plain_client, history=["?"], k=2, explain=True)
    RecommendReply.model_validate(reply)
    assert (reply["fallback"], reply["beams"]) == ("popular", None)
    for item in reply["items"]:
        assert item["explanation"]["history"] == []
        assert {one["log_prob"] for one in item["explanation"]["levels"]} == {None}


def test_other_replies_have_neither_explanations_nor_beams(plain_client: TestClient) -> None:
    reply = answer(plain_client, history=HISTORY)
    assert "beams" not in reply
    assert "explanation" not in reply["items"][0]


def scores(reply: dict[str, Any]) -> dict[str, float]:
    return {item["item_id"]: item["score"] for item in reply["items"]}
