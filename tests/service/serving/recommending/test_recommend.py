from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from rqrec.models.bundle.bundle import Bundle
from rqrec.service.app import create_app
from tests.service.conftest import settings_for

HORROR = [str(116 + i) for i in range(16)]


def recommend(client: TestClient, **body: Any) -> dict[str, Any]:
    response = client.post("/recommend", json=body)
    assert response.status_code == 200, response.text
    reply: dict[str, Any] = response.json()
    return reply


def test_recommends_what_the_history_is_like(client: TestClient, bundle: Bundle) -> None:
    reply = recommend(client, history=HORROR[:4], k=5)
    assert reply["model_version"] == bundle.manifest.version
    assert reply["fallback"] is None
    assert reply["unknown_items"] == []
    assert reply["eligible_items"] == 60
    assert [item["rank"] for item in reply["items"]] == [1, 2, 3, 4, 5]
    scores = [item["score"] for item in reply["items"]]
    assert scores == sorted(scores, reverse=True)
    assert all(item["log_prob"] < 0 for item in reply["items"])
    assert sum(item["payload"]["genres"] == ["Horror"] for item in reply["items"]) >= 4
    codes = dict(zip(bundle.items["item_id"], bundle.learned.codes_RL.tolist(), strict=True))
    titles = dict(bundle.items.select("item_id", "title").iter_rows())
    for item in reply["items"]:
        assert item["semantic_id"] == codes[item["item_id"]]
        assert item["payload"]["title"] == titles[item["item_id"]]


def test_history_and_exclusions_are_left_out(client: TestClient) -> None:
    reply = recommend(client, history=HORROR[:3], exclude=[*HORROR[3:10], "unheard-of"], k=54)
    returned = {item["item_id"] for item in reply["items"]}
    assert len(reply["items"]) == len(returned) == reply["eligible_items"] == 54
    assert not returned & set(HORROR[:10])


def test_history_may_come_back_when_asked(client: TestClient) -> None:
    reply = recommend(client, history=HORROR[:3], exclude_history=False, k=64)
    assert set(HORROR[:3]) <= {item["item_id"] for item in reply["items"]}
    assert reply["eligible_items"] == 64


def test_fewer_items_come_back_where_fewer_are_eligible(client: TestClient) -> None:
    others = [str(100 + i) for i in range(64) if str(100 + i) not in HORROR[:3]]
    reply = recommend(client, history=HORROR[:2], exclude=others, k=10)
    assert [item["item_id"] for item in reply["items"]] == [HORROR[2]]
    assert reply["eligible_items"] == 1
    nothing = recommend(client, history=HORROR[:3], exclude=others, k=10)
    assert nothing["items"] == []
    assert nothing["eligible_items"] == 0


def test_unknown_items_are_skipped_and_listed(client: TestClient) -> None:
    known = recommend(client, history=HORROR[:3], k=5)
    mixed = recommend(client, history=["x", HORROR[0], "y", *HORROR[1:3]], k=5)
    assert mixed["unknown_items"] == ["x", "y"]
    assert [item["item_id"] for item in mixed["items"]] == [item["item_id"] for item in known["items"]]


@pytest.mark.parametrize("history", [[], ["x", "y"]])
def test_without_a_usable_history_the_popular_items_come(
    client: TestClient, bundle: Bundle, history: list[str]
) -> None:
    reply = recommend(client, history=history, k=3, exclude=["100"])
    assert reply["fallback"] == "popular"
    assert reply["unknown_items"] == history
    popularity = dict(zip(bundle.items["item_id"], bundle.learned.popularity_R.tolist(), strict=True))
    del popularity["100"]
    returned = [popularity[item["item_id"]] for item in reply["items"]]
    assert returned == sorted(popularity.values(), reverse=True)[:3]


def test_a_wider_beam_is_never_worse(client: TestClient) -> None:
    narrow, wide = (recommend(client, history=HORROR[:3], k=5, beam_width=beam)["items"] for beam in (1, 64))
    assert wide[0]["score"] >= narrow[0]["score"]
    assert len(narrow) == 5


def test_only_the_most_recent_items_count_in_a_long_history(client: TestClient) -> None:
    recent = HORROR[:8]
    short, long = (
        recommend(client, history=history, k=3, exclude_history=False) for history in (recent, ["100", *recent])
    )
    assert short["items"] == long["items"]


def test_items_and_their_semantic_ids(client: TestClient, bundle: Bundle) -> None:
    row, codes = bundle.items.row(5, named=True), bundle.learned.codes_RL[5].tolist()
    semantic_id = client.get(f"/items/{row['item_id']}/semantic-id").json()
    version = bundle.manifest.version
    assert semantic_id == {"item_id": row["item_id"], "semantic_id": codes, "model_version": version}
    item = client.get(f"/items/{row['item_id']}").json()
    assert item == {**semantic_id, "payload": {name: row[name] for name in ("title", "year", "genres")}}


def test_the_torch_backend_answers_alike(bundles: Path, plain_client: TestClient) -> None:
    with TestClient(create_app(settings_for(bundles, backend="torch", device="cpu"))) as torch_client:
        ours, theirs = (recommend(one, history=HORROR[:3], k=5)["items"] for one in (torch_client, plain_client))
    assert [item["item_id"] for item in ours] == [item["item_id"] for item in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one["log_prob"] == pytest.approx(other["log_prob"], abs=1e-4)
