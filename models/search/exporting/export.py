"""Exports the RQ-VAE, the search and the text encoder as ONNX files.

Shapes: N items or texts, T tokens, E feature dim, L levels. `models.search.beam_search` has the shapes of the search.
"""

import gc
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass, RemoveUnusedNodesPass
from onnxscript import opset20 as op
from onnxscript.optimizer import optimize_ir
from torch import Tensor, nn

from rqrec.models.retriever.config import RetrieverConfig
from rqrec.models.retriever.retriever import Retriever
from rqrec.models.search.beam_search import BeamSearch
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.exclusion import EligibleTensors
from rqrec.models.search.exporting.graph_weights import ORIGIN, PREFIX, blueprint, graph_origin, set_weights
from rqrec.models.search.history.following_items import FollowingTensors
from rqrec.models.search.history.transitions import Following
from rqrec.models.search.onnx_engine import IN_SESSION, ITEM_VECTORS, OUTPUTS, TYPES, eligible_inputs, prefix_outputs
from rqrec.models.tokenizer.rqvae import RqVae
from rqrec.models.tokenizer.text_encoder import MASK, TOKEN_IDS, VECTORS
from rqrec.models.trie.arrays import TrieArrays
from rqrec.models.trie.tensors import TrieTensors
from rqrec.models.trie.trie import SemanticIdTrie

OPSET = 20
INDEXED_BY_SECOND_INPUT = ("Gather", "GatherElements", "ScatterElements")
DYNAMIC = torch.export.Dim.DYNAMIC
SEARCH_STEPS = 3  # of `export_search`, for its progress


def export_tokenizer(rqvae: RqVae, path: Path) -> None:
    """Exports an RQ-VAE as an ONNX file, which computes the codes of items from their features.

    The input is features_NE (float32), the output is codes_NL (int64). The collision code, which tells items with equal
    codes apart, is not among the codes.

    Args:
        rqvae: A trained RQ-VAE on the CPU.
        path: The file to write.
    """
    example_NE = torch.zeros(2, rqvae.config.feature_dim)
    ir.save(_export(_Tokenizer(rqvae), (example_NE,), ["features_NE"], ["codes_NL"], ({0: DYNAMIC},)), path)


def _untold(_step: str) -> None:
    pass


def export_search(
    retriever: Retriever,
    trie: SemanticIdTrie,
    path: Path,
    *,
    half: bool = False,
    on_step: Callable[[str], None] = _untold,
) -> None:
    """Exports the beam search with a retriever as an ONNX file.

    The arrays of the catalogue are inputs of the graph, so one file serves any catalogue. All sizes may differ between
    calls, except the number of levels and the width of vectors. Event types are an input only if the retriever reads
    event types. The weights are initializers, which `models.search.exporting.graph_weights` can replace.

    Args:
        retriever: A trained retriever on the CPU.
        trie: The trie of any catalogue with the retriever's number of levels. The exporter traces the search with it,
            but the file does not contain it.
        path: The file to write.
        half: Whether to compute in float16, for a GPU. Weights and item vectors are then float16; log-probabilities are
            float32.
        on_step: Is told the name of each of the SEARCH_STEPS steps when it begins. The first takes most of the time.
    """
    on_step("tracing")
    traced = blueprint(retriever.config)
    example = _search_example(trie, retriever.config, torch.float16 if half else torch.float32)
    model = _export(
        BeamSearch(traced.half() if half else traced, fixed_shapes=half),
        tuple(value for _, value, _ in example),
        [name for names, _, _ in example for name in names],
        [*OUTPUTS, *prefix_outputs(trie.num_levels)],
        tuple(axes for *_, axes in example),
        translations=_SEARCH_TRANSLATIONS,
        folds_weights=False,
        on_simplify=lambda: on_step("simplifying"),
    )
    on_step("weights")
    model.metadata_props[ORIGIN] = graph_origin(retriever.config, half=half)
    set_weights(model, retriever)
    ir.save(model, path)


def _search_example(
    trie: SemanticIdTrie, config: RetrieverConfig, dtype: torch.dtype
) -> list[tuple[Sequence[str], Any, Any]]:
    """Returns the names, an example and the axes of dynamic size of each argument of the search."""
    eligibility, no_following = Eligibility.everything(trie), Following.none(trie.num_leaves)
    cpu, levels = torch.device("cpu"), trie.num_levels
    two_axes, one_axis = {0: DYNAMIC, 1: DYNAMIC}, {0: DYNAMIC}
    return [
        (["history_BT"], torch.zeros(2, 3, dtype=torch.int64), two_axes),
        (["lengths_B"], torch.full((2,), 3), one_axis),
        (["beam_slots_K"], torch.arange(4, dtype=torch.float32), one_axis),
        (
            list(eligible_inputs(eligibility)),
            EligibleTensors.from_eligibility(eligibility, cpu),
            EligibleTensors._make([(one_axis,) * levels, one_axis, None]),
        ),
        (["excluded_BX"], torch.zeros(2, 5, dtype=torch.int64), two_axes),
        ([ITEM_VECTORS], torch.zeros(2, config.vector_width, dtype=dtype), one_axis),
        (["paths_LN"], torch.from_numpy(trie.paths_LN), {1: DYNAMIC}),
        (
            list(TrieArrays.from_trie(trie).by_input_name()),
            TrieTensors.from_trie(trie),
            TrieTensors._make([(axes,) * levels for axes in (one_axis, one_axis, one_axis, two_axes)]),
        ),
        (
            list(no_following.by_input_name()),
            FollowingTensors.from_following(no_following, cpu),
            FollowingTensors._make([one_axis, one_axis, one_axis, None]),
        ),
        ([IN_SESSION], torch.zeros(2, dtype=torch.int32), one_axis),
        *([([TYPES], torch.zeros(2, 3, dtype=torch.int64), two_axes)] if config.num_event_types else []),
    ]


def export_text_encoder(encoder: nn.Module, path: Path, *, reads_types: bool) -> None:
    """Exports a sentence encoder as an ONNX file, which `models.tokenizer.text_encoder.TextEncoder` runs.

    The inputs are token_ids_NT and mask_NT (int64); the output is vectors_NE (float32).

    Args:
        encoder: A SentenceTransformer on the CPU. Its modules, one after the other, compute "sentence_embedding".
        path: The file to write.
        reads_types: Whether the encoder has an input for token types. The graph then sets all token types to 0.
    """
    example_NT, axes = torch.ones(2, 5, dtype=torch.int64), {0: DYNAMIC, 1: DYNAMIC}
    module = _TextEncoder(encoder, reads_types=reads_types)
    ir.save(_export(module, (example_NT, example_NT.clone()), [TOKEN_IDS, MASK], [VECTORS], (axes, axes)), path)


class _TextEncoder(nn.Module):
    def __init__(self, encoder: nn.Module, *, reads_types: bool) -> None:
        super().__init__()
        self.encoder = encoder.float()
        self.reads_types = reads_types

    def forward(self, token_ids_NT: Tensor, mask_NT: Tensor) -> Tensor:
        features = {"input_ids": token_ids_NT, "attention_mask": mask_NT}
        if self.reads_types:
            features["token_type_ids"] = torch.zeros_like(token_ids_NT)
        for module in self.encoder.children():
            features = module(features)
        return features["sentence_embedding"]


class _Tokenizer(nn.Module):
    def __init__(self, rqvae: RqVae) -> None:
        super().__init__()
        self.rqvae = rqvae

    def forward(self, features_NE: Tensor) -> Tensor:
        return self.rqvae.get_codebook_indices(features_NE)


def _export(
    module: nn.Module,
    example: tuple[Any, ...],
    inputs: list[str],
    outputs: list[str],
    dynamic_shapes: tuple[Any, ...],
    *,
    translations: Mapping[Any, Callable[..., Any]] | None = None,
    folds_weights: bool = True,
    on_simplify: Callable[[], None] = lambda: None,
) -> ir.Model:
    for name in ("torch.onnx", "onnxscript"):  # they warn of what is not used here, such as torchvision
        logging.getLogger(name).setLevel(logging.ERROR)
    with torch.no_grad(), warnings.catch_warnings(), _no_garbage_collection():
        warnings.simplefilter("ignore")  # torch.onnx warns about its own deprecations
        program = torch.onnx.export(
            module.eval(),
            example,
            dynamo=True,
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=dynamic_shapes,
            opset_version=OPSET,
            custom_translation_table=dict(translations or {}),
            verbose=False,
            optimize=folds_weights,
        )
        assert program is not None
        on_simplify()
        if not folds_weights:
            optimize_ir(program.model, should_fold=lambda node: False if _reads_weight(node) else None)
    _drop_needless_nodes(program.model)
    ClearMetadataAndDocStringPass()(program.model)  # the metadata holds memory addresses, which differ between runs
    return program.model


def _reads_weight(node: ir.Node) -> bool:
    return any(value is not None and (value.name or "").startswith(PREFIX) for value in node.inputs)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Stops the garbage collector, which takes a tenth of an export: its millions of objects live until its end."""
    is_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_on:
            gc.enable()


def _divide_naturals(dividend: Any, divisor: Any) -> Any:
    """Divides natural numbers in two nodes. Torch's translation takes eight, because it handles negative numbers."""
    return op.Div(dividend, op.CastLike(divisor, dividend))


def _entries(values: Any, index: Any) -> Any:
    """Translates values[index] with one index of natural numbers to one node. Torch's translation takes six."""
    (numbers,) = index
    return op.Gather(values, numbers, axis=0)


_SEARCH_TRANSLATIONS = {torch.ops.aten.floor_divide.default: _divide_naturals, torch.ops.aten.index.Tensor: _entries}


def _drop_needless_nodes(model: ir.Model) -> None:
    """Removes needless nodes of the exporter: casts of 32-bit indices, which ONNX takes, and reshapes of vectors."""
    for node in model.graph:
        if len(node.inputs) < 2 or node.inputs[0] is None or node.inputs[1] is None:
            continue
        if node.op_type in INDEXED_BY_SECOND_INPUT:
            cast = node.inputs[1].producer()
            narrow = cast.inputs[0] if cast is not None and cast.op_type == "Cast" else None
            if narrow is not None and narrow.dtype == ir.DataType.INT32:
                node.replace_input_with(1, narrow)
        elif node.op_type == "Reshape":
            source, shape = node.inputs[0], ir.convenience.get_const_tensor(node.inputs[1])
            is_vector = source.shape is not None and len(source.shape) == 1
            if is_vector and shape is not None and shape.numpy().tolist() == [-1]:
                ir.convenience.replace_all_uses_with(node.outputs[0], source)
    RemoveUnusedNodesPass()(model)
