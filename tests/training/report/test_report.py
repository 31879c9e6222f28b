"""The training report of the shared run, as a file: whole, safe and self-contained."""

import logging
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

from rqrec.models.bundle.bundle import Bundle
from rqrec.models.bundle.layout import REPORT
from rqrec.models.bundle.report import REPORT_POLICY, read_report
from rqrec.training.report import report
from rqrec.training.report.material import Material
from rqrec.training.report.page import page
from rqrec.training.report.section import Figure, Section
from rqrec.training.report.tables import Cell, table
from rqrec.training.run import Run
from rqrec.training.runtime.workspace import Workspace


class Page(HTMLParser):
    """What a browser would see of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.ids, self.addresses = Counter[str](), Counter[str](), list[str]()
        self.labels: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        for name, value in attrs:
            if name == "id":
                self.ids[value or ""] += 1
            if name in ("src", "href", "xlink:href", "action", "data"):
                self.addresses.append(value or "")
            if name == "aria-label":
                self.labels.append(value or "")


@pytest.fixture(scope="module")
def text(trained: Run) -> str:
    assert trained.report is not None
    return (trained.report.path / REPORT).read_text(encoding="utf-8")


def test_every_section_was_made_and_every_figure_says_how_to_read_it(text: str) -> None:
    seen = Page(text)
    assert "could not be made" not in text
    assert seen.tags["section"] == len(report.SECTIONS)
    assert text.count('class="reading"') == text.count('class="bad"') == seen.tags["figure"] >= 25
    for title in (
        "RQ-VAE: loss",
        "Short-term encoder: validation",
        "Retriever: loss of each code",
        "Learning rates",
        "Perplexity of the codes over time",
        "Dead codes over time",
        "What quantisation leaves, over time",
        "Reconstruction over time",
        "Map of the catalogue, coloured by first code",
        "NDCG@10 of all models",
        "NDCG@10 by popularity of the target",
        "NDCG@10 by length of the history",
        "Are the probabilities true?",
        "How recommendations spread over the catalogue",
    ):
        assert title in seen.labels
    for genre in ("Animation", "Horror", "Romance", "War"):
        assert f"{genre} 25%" in text  # of all items
        assert f"{genre} 100%" in text  # of a node


def test_the_page_loads_nothing_and_has_no_scripts(text: str) -> None:
    seen = Page(text)
    assert seen.tags["script"] == seen.tags["link"] == seen.tags["iframe"] == 0
    assert all(address.startswith(("#", "data:image/png;base64,")) for address in seen.addresses)
    assert set(re.findall(r"url\((.)", text)) == {"#"}  # clips and hatches of the plots
    assert not re.search(r"\son[a-z]+=", text)
    assert f'content="{REPORT_POLICY}"' in text
    assert [one for one, times in seen.ids.items() if times > 1] == []


def test_the_bundle_holds_a_copy_that_its_manifest_lists(bundle: Bundle, text: str) -> None:
    assert read_report(bundle.path) == text.encode()
    assert REPORT in bundle.manifest.checksums
    assert REPORT not in bundle.manifest.files  # the service can start without it


def test_a_section_that_fails_loses_neither_the_others_nor_the_training(
    trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_material: Material) -> Section:
        raise ZeroDivisionError("<b>no users</b>")

    def sound(_material: Material) -> Section:
        return Section("Sound", "It is whole.")

    monkeypatch.setattr(report, "SECTIONS", (broken, sound))
    with caplog.at_level(logging.WARNING, "rqrec"):
        stage = report.write_report(Workspace(tmp_path, tmp_path), trained._trained, [trained.rqvae])
    text = (stage.path / REPORT).read_text(encoding="utf-8")
    assert "ZeroDivisionError: &lt;b&gt;no users" in text
    assert "It is whole." in text
    assert "'Broken' of the training report cannot be made" in caplog.text
    monkeypatch.setattr(Material, "load", lambda *_args: 1 / 0)
    stage = report.write_report(Workspace(tmp_path, tmp_path), trained._trained, [trained.rqvae], ["another key"])
    assert "ZeroDivisionError: division by zero" in (stage.path / REPORT).read_text(encoding="utf-8")


def test_names_from_the_data_are_text_and_no_markup() -> None:
    evil = "<script>alert(1)</script>&\"'"
    figure = Figure(evil, table([evil], [[Cell(evil, note=evil)]]), evil, evil)
    text = page(evil, evil, [Section(evil, evil, [figure], [evil])])
    assert "<script" not in text
    assert text.count("&lt;script&gt;") == 13
