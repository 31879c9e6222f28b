"""Exports the tokenizer, the item encoder and the whole search to ONNX graphs.

Shapes: N items, E feature dim, L levels, D width; those of the search are in `models.beam_search`.
"""

import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.beam_search import BeamSearch
from models.onnx_engine import trie_inputs
from models.retriever import Retriever
from models.rqvae import RqVae
from models.trie import SemanticIdTrie
from models.trie_tensors import TrieTensors

OPSET = 20
DYNAMIC = torch.export.Dim.DYNAMIC


def export_tokenizer(rqvae: RqVae, path: Path) -> None:
    """Writes features_NE (float32) → codes_NL (int64), the collision code not included."""
    example_NE = torch.zeros(2, rqvae.config.feature_dim)
    _export(_Tokenizer(rqvae), (example_NE,), path, ["features_NE"], ["codes_NL"], ({0: DYNAMIC},))


def export_item_encoder(retriever: Retriever, path: Path) -> None:
    """Writes codes_NL (int64) → item_vectors_ND (float32)."""
    example_NL = torch.zeros(2, retriever.config.num_levels, dtype=torch.int64)
    _export(retriever.items, (example_NL,), path, ["codes_NL"], ["item_vectors_ND"], ({0: DYNAMIC},))


def export_search(retriever: Retriever, trie: SemanticIdTrie, path: Path) -> None:
    """Writes the search; every axis but the width is free, and the catalogue's arrays are inputs.

    Args:
        retriever: A trained retriever on the CPU.
        trie: Any catalogue with the retriever's number of levels, as an example.
        path: The file to write.
    """
    tensors = TrieTensors.of(trie)
    leaves, width = trie.num_leaves, retriever.config.width
    example: tuple[Any, ...] = (
        torch.zeros(2, 3, dtype=torch.int64),
        torch.full((2,), 3),
        torch.full((2, 2), leaves),
        torch.arange(leaves + 1),
        torch.arange(4),
        torch.zeros(leaves, width),
        tensors,
    )
    two, one = {0: DYNAMIC, 1: DYNAMIC}, {0: DYNAMIC}
    trie_axes: Any = TrieTensors._make([tuple(one for _ in arrays) for arrays in tensors])
    names = ["history_BT", "lengths_B", "excluded_BX", "eligible_before", "beam_slots_K", "item_vectors_ND"]
    _export(
        BeamSearch(retriever),
        example,
        path,
        [*names, *trie_inputs(trie)],
        ["leaves_BK", "log_probs_BK"],
        (two, one, two, one, one, one, trie_axes),
    )


class _Tokenizer(nn.Module):
    def __init__(self, rqvae: RqVae) -> None:
        super().__init__()
        self.rqvae = rqvae

    def forward(self, features_NE: Tensor) -> Tensor:
        return self.rqvae.get_codebook_indices(features_NE)


def _export(
    module: nn.Module,
    example: tuple[Any, ...],
    path: Path,
    inputs: list[str],
    outputs: list[str],
    dynamic_shapes: tuple[Any, ...],
) -> None:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns that torchvision, not used here, is missing
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of its own deprecations
        program = torch.onnx.export(
            module.eval(),
            example,
            dynamo=True,
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=dynamic_shapes,
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    program.save(path, external_data=False)
