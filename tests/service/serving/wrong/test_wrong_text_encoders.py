"""Bundles with a wrong text encoder are refused when they are opened, with and without Redis."""

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from fastapi.testclient import TestClient
from onnx import numpy_helper
from tokenizers import Tokenizer, models

from rqrec.models.bundle.layout import TEXT_ENCODER_GRAPH, TEXT_TOKENIZER
from tests.service.serving.three_models import ask, service
from tests.service.serving.wrong.sealing import seal
from tests.text_encoders import write_text_encoder

Change = Callable[[Path], object]


@pytest.fixture(params=["without redis", "with redis"])
def client(request: pytest.FixtureRequest, three_bundles: Path) -> Iterator[TestClient]:
    fields: dict[str, object] = {}
    if request.param == "with redis":
        fields["redis_url"] = request.getfixturevalue("redis_server").url
    with service(three_bundles, **fields) as client:
        yield client


def vectors(change: Callable[[Any], Any]) -> Change:
    """Changes the vectors of the tokens in the graph."""

    def apply(folder: Path) -> None:
        model = onnx.load(folder / TEXT_ENCODER_GRAPH)
        (stored,) = [one for one in model.graph.initializer if one.name == "vectors"]
        stored.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(stored)), "vectors"))
        onnx.save(model, folder / TEXT_ENCODER_GRAPH)

    return apply


def tokens(change: Callable[[Tokenizer], object]) -> Change:
    def apply(folder: Path) -> None:
        tokenizer = Tokenizer.from_file(str(folder / TEXT_TOKENIZER))
        change(tokenizer)
        (folder / TEXT_TOKENIZER).write_text(tokenizer.to_str())

    return apply


def content(data: bytes) -> Change:
    return lambda folder: (folder / TEXT_TOKENIZER).write_bytes(data)


def with_large_id(tokenizer: Tokenizer) -> None:
    tokenizer.model = models.WordLevel({"[UNK]": 0, "rare": 9_999_999}, unk_token="[UNK]")


WRONG: Mapping[str, tuple[Change, str]] = {
    "another width": (lambda folder: write_text_encoder(folder, width=5), "of 4 numbers"),
    "NaN": (vectors(lambda array: array * np.float32("nan")), "NaN or infinity"),
    "infinity": (vectors(lambda array: array + np.float32("inf")), "NaN or infinity"),
    "fewer vectors than tokens": (vectors(lambda array: array[:100]), "ONNXRuntimeError"),
    "an empty tokenizer": (content(b"{}"), TEXT_TOKENIZER),
    "a tokenizer that is not UTF-8": (content(b"\xff\xfe"), TEXT_TOKENIZER),
    "a token id beyond the graph's": (tokens(with_large_id), "ONNXRuntimeError"),
    "texts that are not cut": (tokens(lambda tokenizer: tokenizer.no_truncation()), "cuts texts"),
    "texts that are cut too late": (tokens(lambda tokenizer: tokenizer.enable_truncation(10**9)), "cuts texts"),
    "texts that are not padded": (tokens(lambda tokenizer: tokenizer.no_padding()), "ValueError"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_text_encoder_is_refused_and_the_old_model_goes_on(
    client: TestClient, three_bundles: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    change, fault = WRONG[name]
    change(three_bundles / "second")
    seal(three_bundles / "second")
    caplog.clear()
    response = client.post("/models/second/activate")
    assert response.status_code == 409, response.text
    detail = response.json()["detail"]
    assert fault in detail
    assert "\n" not in detail
    assert not [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]
    assert ask(client)["model_version"] == "first"
