"""The tree of semantic IDs and the map over HTTP."""

from pathlib import Path
from typing import Any

import httpx
import numpy as np
from fastapi.testclient import TestClient

from rqrec.client import Client
from rqrec.models.bundle.bundle import Bundle
from rqrec.models.bundle.layout import MAP, MEANINGS
from rqrec.models.bundle.store import point_current
from rqrec.service.app import create_app
from rqrec.service.contract.tree import TreeNode
from tests.service.conftest import settings_for, write_variant


def client_of(plain: TestClient) -> Client:
    """The Python client on the app of a test client."""

    def answer(request: httpx.Request) -> httpx.Response:
        response = plain.request(request.method, str(request.url.copy_with(scheme="http", host="testserver")))
        return httpx.Response(response.status_code, content=response.content)

    return Client("http://testserver", transport=httpx.MockTransport(answer))


def test_the_tree_leads_from_the_root_to_every_item_and_says_what_codes_stand_for(
    plain_client: TestClient, bundle: Bundle
) -> None:
    client = client_of(plain_client)
    root = client.tree()
    assert (root.prefix, root.num_items) == ([], 64)
    assert root.meaning.attributes[0].share == 0.25  # of the four genres
    assert sum(child.num_items for child in root.children) == 64
    prefix: list[int] = []
    node = root
    while node.children:
        largest = max(node.children, key=lambda child: child.num_items)
        prefix = [*prefix, largest.code]
        node = client.tree(prefix)
        assert (node.prefix, node.num_items, node.meaning) == (prefix, largest.num_items, largest.meaning)
    assert prefix in bundle.learned.codes_RL.tolist()
    shares = [child.meaning.attributes[0].share for child in root.children if child.num_items > 2]
    assert np.mean(shares) > 0.5  # a genre has codes of its own
    for path, status in (("x", 422), ("1-", 422), ("999999999", 200)):
        assert plain_client.get(f"/semantic-ids/{path}").status_code == status


def test_the_map_has_the_asked_items_and_refuses_what_it_cannot_show(plain_client: TestClient) -> None:
    reply = client_of(plain_client).item_map(limit=10, attribute="genres", items=["163", "162"])
    assert reply.item_ids[:2] == ["163", "162"]
    assert {len(one) for one in (reply.item_ids, reply.xs, reply.ys, reply.codes, reply.values)} == {12}
    assert set(reply.values) <= {"Animation", "Horror", "Romance", "War"}
    assert reply.num_items == 64
    for query, pointer in (("attribute=colour", "/attribute"), ("limit=20001", "/limit"), ("limit=0", "/limit")):
        refused = plain_client.get(f"/map?{query}")
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, pointer)
    assert plain_client.get("/map?" + "&".join(["items=1"] * 101)).status_code == 422


def test_a_bundle_without_meanings_and_map_serves_the_tree_alone(bundle: Bundle, tmp_path: Path) -> None:
    older = write_variant(tmp_path, bundle, "older", has_insight=False)
    for name in (MAP, MEANINGS):
        (older / name).unlink()
    point_current(tmp_path, "older")
    with TestClient(create_app(settings_for(tmp_path))) as client:
        root: dict[str, Any] = client.get("/semantic-ids").json()
        assert root["meaning"] == root["children"][0]["meaning"] == {"attributes": [], "words": []}
        assert TreeNode.model_validate(root).num_items == 64
        refused = client.get("/map")
        assert (refused.status_code, refused.json()["type"]) == (404, "no-map")
        assert "publish it again" in refused.json()["detail"]
