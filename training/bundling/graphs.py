"""Puts the graphs of the tokenizer and of the search into a bundle: new exports, or those of the bundle before.

A retraining keeps the tokenizer, and its search differs from the one before in the weights alone. So it copies the
graph of the tokenizer and replaces the weights of the search, which takes a second. The exports take 25 seconds.
"""

import logging
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from rqrec.models.bundle.bundle import Bundle
from rqrec.models.bundle.layout import HALF_SEARCH_GRAPH, SEARCH_GRAPH, TOKENIZER_GRAPH
from rqrec.models.retriever.retriever import Retriever
from rqrec.models.search.exporting.graph_weights import OtherOrigin, replace_weights
from rqrec.models.trie.trie import SemanticIdTrie
from rqrec.training.bundling.trained import Learned
from rqrec.training.runtime.progress import Task, progress

logger = logging.getLogger("rqrec")


def write_graphs(
    folder: Path,
    learned: Learned,
    trie: SemanticIdTrie,
    *,
    half_precision: bool,
    parent: Bundle | None,
    faults: Callable[[Path], Sequence[str]],
) -> None:
    """Writes the graphs of the tokenizer and of the search as ONNX files.

    Args:
        folder: The bundle's folder.
        learned: What the stages learned.
        trie: The trie of the catalogue.
        half_precision: Whether to write the search in half precision too.
        parent: The bundle from which a retraining went on; None after a full training.
        faults: Says how the answers of a search graph differ from those of the retriever. A graph with replaced weights
            is used only if there is no difference.
    """
    searches = {SEARCH_GRAPH: False, HALF_SEARCH_GRAPH: True} if half_precision else {SEARCH_GRAPH: False}
    if parent is not None:
        reason = _reuse(folder, learned.retriever, searches, parent, faults)
        if not reason:
            return
        logger.info("publish: the graphs are exported anew, which takes 25 seconds: %s", reason)
    _export(folder, learned, trie, searches)


def _reuse(
    folder: Path,
    retriever: Retriever,
    searches: dict[str, bool],
    parent: Bundle,
    faults: Callable[[Path], Sequence[str]],
) -> str:
    """Writes the graphs of the bundle before, with new weights. Returns why they cannot be used, or an empty text."""
    if missing := [name for name in searches if not (parent.path / name).is_file()]:
        return f"the bundle before has no {missing[0]}"
    shutil.copyfile(parent.path / TOKENIZER_GRAPH, folder / TOKENIZER_GRAPH)
    try:
        for name, half in searches.items():
            replace_weights(parent.path / name, retriever, folder / name, half=half)
    except OtherOrigin as error:
        return str(error)
    return next(iter(faults(folder / SEARCH_GRAPH)), "")


def _export(folder: Path, learned: Learned, trie: SemanticIdTrie, searches: dict[str, bool]) -> None:
    from rqrec.models.search.exporting import export  # noqa: PLC0415 - it loads for 2 seconds, and a retraining can do without

    def show(task: Task, precision: str, step: str) -> None:
        task.next_step(f"that of the search{precision}: {step}")

    with progress("exporting graphs", total=1 + export.SEARCH_STEPS * len(searches)) as task:
        task.next_step("that of the tokenizer")
        export.export_tokenizer(learned.tokenizer, folder / TOKENIZER_GRAPH)
        for name, half in searches.items():
            precision = " in half precision" if half else ""
            export.export_search(
                learned.retriever,
                trie,
                folder / name,
                half=half,
                on_step=partial(show, task, precision),
            )
