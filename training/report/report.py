"""Stage: writes the training report, a page that shows what each stage of a run did."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rqrec.models.bundle.layout import REPORT
from rqrec.training.bundling.trained import Trained
from rqrec.training.data.prepare import load_prepared
from rqrec.training.report.material import Material
from rqrec.training.report.page import page
from rqrec.training.report.section import Section
from rqrec.training.report.sections.accuracy import accuracy
from rqrec.training.report.sections.catalogue_map import catalogue_map
from rqrec.training.report.sections.codebooks import codebooks
from rqrec.training.report.sections.lists import lists
from rqrec.training.report.sections.losses import learning
from rqrec.training.report.sections.neighbours import neighbours
from rqrec.training.report.sections.overview import overview
from rqrec.training.report.sections.reconstruction import reconstruction
from rqrec.training.report.sections.tree import tree
from rqrec.training.runtime.workspace import Stage, Workspace

SECTIONS: tuple[Callable[[Material], Section], ...] = (
    overview,
    learning,
    codebooks,
    reconstruction,
    catalogue_map,
    tree,
    neighbours,
    accuracy,
    lists,
)
CODE_VERSION = 1
logger = logging.getLogger("rqrec")


@dataclass(frozen=True)
class _Key:
    """What the report depends on besides the results of the stages."""

    changes: tuple[str, ...]


def write_report(
    workspace: Workspace,
    trained: Trained,
    trainings: Sequence[Stage],
    changes: Sequence[str] = (),
    *,
    name: str = "report",
) -> Stage:
    """Runs the stage "report": writes `report.html` from the results of the other stages.

    What cannot be made becomes a note on the page and a warning: a fault of a figure must lose no training.

    Args:
        workspace: The folder that stores the results of all stages.
        trained: The results of the stages that are published.
        trainings: The stages whose curves are shown, in their order.
        changes: After a retraining, sentences about what changed.
        name: Name of the stage.

    Returns:
        The finished stage. Its folder holds `report.html`.
    """

    def write(directory: Path) -> None:
        introduction = "What each stage of this training did, from raw data to recommendations, and how to read it."
        title = f"Training report: {load_prepared(trained.data).name}"
        text = page(title, introduction, _sections(trained, trainings, changes))
        (directory / REPORT).write_text(text, encoding="utf-8")

    inputs = [trained.data, trained.rqvae, trained.tokens, trained.published, trained.evaluation, *trainings]
    return workspace.run(name, inputs=inputs, settings=_Key(tuple(changes)), write=write, version=CODE_VERSION)


def _sections(trained: Trained, trainings: Sequence[Stage], changes: Sequence[str]) -> list[Section]:
    """Makes all sections. What fails becomes a note."""
    try:
        material = Material.load(trained, trainings, changes)
    except Exception as error:
        return [_failed("Report", error)]
    sections = []
    for make in SECTIONS:
        try:
            sections.append(make(material))
        except Exception as error:
            sections.append(_failed(make.__name__.replace("_", " ").capitalize(), error))
    return sections


def _failed(title: str, error: Exception) -> Section:
    """Warns of an error, and returns a section that says so."""
    logger.warning("%r of the training report cannot be made", title, exc_info=error)
    return Section(title, "", notes=[f"This could not be made ({type(error).__name__}: {error})."])
