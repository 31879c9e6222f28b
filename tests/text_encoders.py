"""A sentence encoder for bundles of tests, as training would export one: small and quick."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from rqrec.models.bundle.bundle import Bundle
from rqrec.models.bundle.layout import TEXT_ENCODER_GRAPH, TEXT_TOKENIZER
from rqrec.models.bundle.manifest import seal_bundle
from rqrec.models.tokenizer.text_encoder import MASK, TOKEN_IDS, VECTORS

WIDTH = 4  # of the small recipe's text
LONGEST = 64


def write_text_encoder(folder: Path, *, width: int = WIDTH, seed: int = 0) -> None:
    """Writes an encoder whose vector of a text is the mean of its bytes' vectors, which are drawn at random."""
    alphabet = {character: number for number, character in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.enable_truncation(LONGEST)
    tokenizer.enable_padding(pad_id=0, pad_token="!")
    (folder / TEXT_TOKENIZER).write_text(tokenizer.to_str())
    vectors_VE = np.random.default_rng(seed).standard_normal((len(alphabet), width)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["vectors", TOKEN_IDS], ["of_tokens"]),
        helper.make_node("Cast", [MASK], ["weights"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["weights", "last"], ["columns"]),
        helper.make_node("Mul", ["of_tokens", "columns"], ["counted"]),
        helper.make_node("ReduceSum", ["counted", "second"], ["sums"], keepdims=0),
        helper.make_node("ReduceSum", ["columns", "second"], ["counts"], keepdims=0),
        helper.make_node("Div", ["sums", "counts"], [VECTORS]),
    ]
    constants = {"vectors": vectors_VE, "last": np.array([2]), "second": np.array([1])}
    graph = helper.make_graph(
        nodes,
        "text encoder",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["N", "T"]) for name in (TOKEN_IDS, MASK)],
        [helper.make_tensor_value_info(VECTORS, TensorProto.FLOAT, ["N", width])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, folder / TEXT_ENCODER_GRAPH)


def with_text_encoder(bundle: Bundle, target: Path) -> Path:
    """Copies a bundle and adds a text encoder; returns the copy's folder."""
    shutil.copytree(bundle.path, target)
    write_text_encoder(target)
    seal_bundle(target, replace(bundle.manifest, no_text_encoder=""))
    return target
