"""The export of the text encoder in a process of its own."""

import logging
import re
import subprocess
from pathlib import Path

import pytest

from rqrec.models.bundle.layout import TEXT_ENCODER_GRAPH, TEXT_TOKENIZER
from rqrec.models.errors import MissingPackage
from rqrec.models.tokenizer.text_encoder import TextEncoder
from rqrec.training.features.text_export_process import text_encoder_export


def test_the_encoder_is_exported_while_the_caller_does_other_work(
    transformer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(transformer.parent)
    with text_encoder_export(transformer.name, ["Heat", "x " * 100_000], tmp_path) as exported:
        assert not (tmp_path / TEXT_ENCODER_GRAPH).exists()
        assert exported() == ""
    assert TextEncoder(tmp_path / TEXT_ENCODER_GRAPH, tmp_path / TEXT_TOKENIZER).encode(["Heat"]).shape[0] == 1


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("collections:OrderedDict", r"the text encoder 'collections:OrderedDict' is not a sentence-transformers model"),
        ("os:abort", r"the export of the text encoder 'os:abort' ended with exit status -6: "),
    ],
)
def test_an_encoder_that_cannot_be_exported_is_a_reason_and_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, reason: str
) -> None:
    with text_encoder_export(name, [], tmp_path) as exported, caplog.at_level(logging.WARNING, "rqrec"):
        assert re.match(reason, exported())
    assert re.search(f"{reason}.*: every new item with text must be sent with its text_vector", caplog.text)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_the_error_of_the_caller(tmp_path: Path) -> None:
    with (
        text_encoder_export("no_such_package:load", [], tmp_path) as exported,
        pytest.raises(MissingPackage, match="pip install no_such_package"),
    ):
        exported()


def test_the_process_ends_with_the_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[str]] = []

    class Watched(subprocess.Popen[str]):
        def __init__(self, *arguments: object, **fields: object) -> None:
            super().__init__(*arguments, **fields)  # type: ignore[call-overload]
            started.append(self)

    monkeypatch.setattr("subprocess.Popen", Watched)
    with pytest.raises(RuntimeError, match="another graph"), text_encoder_export("time:sleep", [], tmp_path):
        raise RuntimeError("another graph failed")
    assert started[0].returncode is not None
