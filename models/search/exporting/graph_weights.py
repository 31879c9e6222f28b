"""The weights in an ONNX graph of the search: initializers with names, so those of another retriever can replace them.

Exporting the graph takes 20 seconds, because PyTorch traces the whole search. But the graphs of a model and of its
retrained successor differ in their weights alone: the trie, the item vectors and the transitions are inputs. So the
exporter traces a model of random weights, computes no constant from a weight, and then puts the retriever's weights in
place. ONNX Runtime computes these constants when it opens the graph, so the search is as fast.
"""

import hashlib
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import onnx_ir as ir
import torch

from rqrec.models.retriever.config import RetrieverConfig
from rqrec.models.retriever.retriever import Retriever

PREFIX = "retriever."  # the initializer of a weight has its name in the retriever, after this prefix
ORIGIN = "rqrec.origin"  # the entry of the graph's metadata that holds `graph_origin`
EXPORTERS = ("torch", "onnx", "onnx-ir", "onnxscript")
SOURCES = Path(__file__).parents[2]


class OtherOrigin(Exception):
    """A graph was not exported from the same code, the same sizes and by the same programs."""


def replace_weights(graph: Path, retriever: Retriever, path: Path, *, half: bool = False) -> None:
    """Writes the graph that `export_search` would write for a retriever, from the graph of another retriever.

    Args:
        graph: The ONNX file of the other retriever. It may have another number of items.
        retriever: A trained retriever on the CPU.
        path: The file to write.
        half: Whether the graph computes in float16.

    Raises:
        OtherOrigin: If an export would give other nodes, or might do so.
    """
    model = ir.load(graph)
    if model.metadata_props.get(ORIGIN) != graph_origin(retriever.config, half=half):
        raise OtherOrigin(f"{graph} was exported by another version of RQRec or PyTorch, or has other sizes")
    set_weights(model, retriever)
    ir.save(model, path)


def set_weights(model: ir.Model, retriever: Retriever) -> None:
    """Puts the weights of a retriever into a graph that was traced with `blueprint`.

    Args:
        model: The graph.
        retriever: A retriever on the CPU. Its weights become float16 where those of the graph are.

    Raises:
        ValueError: If a weight has another shape than in the graph.
    """
    weights = retriever.state_dict()
    for name, initializer in model.graph.initializers.items():
        if not name.startswith(PREFIX):
            continue
        weight = weights[name.removeprefix(PREFIX)]
        if initializer.shape != tuple(weight.shape):
            raise ValueError(f"expected {name} to have the shape {initializer.shape}, got {tuple(weight.shape)}")
        is_half = initializer.dtype == ir.DataType.FLOAT16
        initializer.const_value = ir.tensor((weight.half() if is_half else weight).numpy(), name=name)


def blueprint(config: RetrieverConfig) -> Retriever:
    """Makes a retriever with random weights and tables of one item, from which the graph of the search is traced.

    No two weights are equal and none is zero, so the exporter finds nothing in them that it could merge or leave out.
    The graph of a search has no table of items.

    Args:
        config: The configuration of the retriever whose weights will be put into the graph.
    """
    with torch.random.fork_rng(devices=()), torch.no_grad():
        torch.manual_seed(0)
        retriever = Retriever(_of_one_item(config))
        for weight in retriever.parameters():
            weight.normal_()
    return retriever.eval()


def graph_origin(config: RetrieverConfig, *, half: bool) -> str:
    """Returns a hash of all that decides the nodes of a search graph: sizes, source code and exporting programs.

    Args:
        config: The configuration of the retriever. Its number of items does not count.
        half: Whether the graph computes in float16.
    """
    programs = [(name, version(name)) for name in EXPORTERS]
    digest = hashlib.sha256(repr((_of_one_item(config), half, programs)).encode())
    for file in sorted(SOURCES.rglob("*.py")):
        digest.update(f"\n{file.relative_to(SOURCES).as_posix()}\n".encode() + file.read_bytes())
    return digest.hexdigest()


def _of_one_item(config: RetrieverConfig) -> RetrieverConfig:
    return replace(
        config,
        num_items=min(config.num_items, 1),
        num_prefixes=min(config.num_prefixes, 1),
        short_term=config.short_term and replace(config.short_term, num_items=1),
        long_term=config.long_term and replace(config.long_term, num_items=1),
    )
