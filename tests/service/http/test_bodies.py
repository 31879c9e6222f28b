"""Bodies with many faults: the answer and the time are limited."""

import json
import time

import pytest
from fastapi.testclient import TestClient
from pydantic import TypeAdapter

from rqrec.models.bundle.manifest import MAX_HISTORY
from rqrec.models.bundle.tables import MAX_ITEM_ID
from rqrec.service.contract import fields
from rqrec.service.contract.fields import ItemId

LARGEST_ERROR = 64 << 10
FAULTY = {
    "numbers": '{"history":[' + "0," * 500_000 + "0]}",
    "empty texts": '{"history":[' + '"",' * 300_000 + '""]}',
    "lists": '{"history":[' + "[]," * 40_000 + "[]]}",
    "filters of lists": json.dumps({"history": [], "filter": {f"a{n}": {"any_of": [[]] * 2000} for n in range(20)}}),
    "filters of texts": json.dumps({"history": [], "filter": {f"a{n}": {"any_of": ["x"] * 9999} for n in range(20)}}),
    "filter names": json.dumps({"history": [], "filter": {f"a{n}": 1 for n in range(85_000)}}),
    "operators": json.dumps({"history": [], "filter": {"a": {f"a{n}": 1 for n in range(85_000)}}}),
    "fields": json.dumps({"history": [], **{f"a{n}": 1 for n in range(60)}}),
    "many fields": json.dumps({"history": [], **{f"a{n}": 1 for n in range(85_000)}}),
    "a long name": json.dumps({"history": [], "k" * 1_000_000: 1}),
    "odd names": json.dumps({"history": [], **{"\x01" * 900 + str(n): 1 for n in range(60)}}),
    "depth": '{"history":' * 90_000,
    "brackets": '{"history":' + "[" * 1_000_000,
    "a long number": '{"history":[], "k":' + "9" * 1_000_000 + "}",
}


@pytest.mark.parametrize("kind", FAULTY)
def test_the_faults_of_a_body_are_bounded(plain_client: TestClient, kind: str) -> None:
    begin = time.process_time()
    response = plain_client.post("/recommend", content=FAULTY[kind].encode())
    assert time.process_time() - begin < 3
    assert response.status_code in {413, 422}
    assert len(response.content) < LARGEST_ERROR
    assert len(response.json()["errors"]) <= 20


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip", "GZIP", ""])
def test_a_compressed_body_is_refused(plain_client: TestClient, encoding: str) -> None:
    headers = {"content-encoding": encoding}
    response = plain_client.post("/recommend", content=b'{"history": ["116"]}', headers=headers)
    assert (response.status_code, response.json()["type"]) == (415, "unsupported-encoding")


def test_a_body_without_compression_may_say_so(plain_client: TestClient) -> None:
    headers = {"content-encoding": "Identity"}
    response = plain_client.post("/recommend", content=b'{"history": ["116"]}', headers=headers)
    assert response.status_code == 200


def test_bundles_have_the_limits_of_the_contract() -> None:
    assert TypeAdapter(ItemId).json_schema()["maxLength"] == MAX_ITEM_ID
    assert fields.MAX_HISTORY == MAX_HISTORY
