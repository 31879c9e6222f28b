"""The lists of a bulk run are those that POST /recommend returns for the same requests."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fastapi.testclient import TestClient

from tests.service.bulk.conftest import FILMS, Run, lists_in, random_histories


@pytest.mark.parametrize(
    "fields",
    [
        {"k": 7, "beam_width": 20},
        {"filter": {"genres": {"any_of": ["War", "Horror"]}}, "caps": {"genres": 3}, "exclude": FILMS[:40:3]},
        {"filter": {"title": {"any_of": ["no such title"]}}},
        {"exclude_history": False, "diversity": 0.5, "pins": [{"item_id": "110", "rank": 2}], "k": 5},
        {"boosts": [{"filter": {"genres": {"any_of": ["War"]}}, "factor": 3.0}], "caps": {"genres": 2}, "k": 12},
    ],
    ids=["plain", "filter and caps", "nothing is eligible", "diversity and pins", "boosts and caps"],
)
def test_lists_are_those_of_http(run: Run, tmp_path: Path, plain_client: TestClient, fields: dict[str, Any]) -> None:
    users = random_histories(60)
    users.write_parquet(tmp_path / "in.parquet")
    figures = run(tmp_path / "in.parquet", fields).figures
    lists, popular, unknown = lists_in(tmp_path / "out"), 0, 0
    for user_id, history in users.iter_rows():
        reply = plain_client.post("/recommend", json={"history": history, **fields}).json()
        assert [item["item_id"] for item in reply["items"]] == lists.get(user_id, [])
        popular += reply["fallback"] == "popular"
        unknown += len(reply["unknown_items"])
    assert (figures.users, figures.popular, figures.unknown_items) == (60, popular, unknown)
    assert figures.lists + figures.empty == 60


def test_entries_with_types_and_times_and_exclusions_of_a_user_count_as_in_http(
    run: Run, tmp_path: Path, plain_client: TestClient
) -> None:
    entries = [{"item_id": "100", "type": "like", "at": 5.0}, {"item_id": "105", "type": None, "at": 9.0}]
    users = pl.DataFrame(
        {"user_id": [1, 2], "history": [entries, entries[:1]], "exclude": [FILMS[:30], None], "age": [30, 40]}
    )
    users.write_parquet(tmp_path / "in.parquet")
    run(tmp_path / "in.parquet", {"at": 10.0})
    lists = lists_in(tmp_path / "out")
    for user_id, history, exclude, _ in users.iter_rows():
        body = {"history": history, "exclude": exclude or [], "at": 10.0}
        items = plain_client.post("/recommend", json=body).json()["items"]
        assert [item["item_id"] for item in items] == lists[user_id]


def test_scores_are_those_of_http_but_for_rounding(run: Run, tmp_path: Path, plain_client: TestClient) -> None:
    pl.DataFrame({"user_id": [1], "history": [[100, 101]]}).write_parquet(tmp_path / "in.parquet")
    run(tmp_path / "in.parquet")
    items = plain_client.post("/recommend", json={"history": ["100", "101"]}).json()["items"]
    scores = pl.read_parquet(tmp_path / "out/lists")["score"].to_list()
    assert scores == pytest.approx([item["score"] for item in items], abs=1e-4)
