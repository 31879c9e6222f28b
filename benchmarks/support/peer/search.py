"""The usual way to serve such a model: transformers.generate, restricted to the catalogue by a Python function.

The model has the size in the TIGER paper (Rajput et al. 2023, arXiv 2305.05065, §4): a T5 of 4 + 4 layers, width 128,
6 heads of 64 and feed-forward layers of 1024. It reads a history code by code.

Shapes: B users, T history items, L levels.
"""

from collections import defaultdict
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import T5Config, T5ForConditionalGeneration

SPECIAL_TOKENS = 2  # one token for padding and the decoder's start, one for the end


class TransformersPeer:
    """A T5 with random weights over a catalogue of semantic IDs.

    Args:
        codes_NL: The semantic IDs of the catalogue.
        codebook_size: V.
    """

    def __init__(self, codes_NL: NDArray[np.int64], *, codebook_size: int) -> None:
        self._num_levels = codes_NL.shape[1]
        self._offsets_L = SPECIAL_TOKENS + codebook_size * np.arange(self._num_levels)
        children: defaultdict[tuple[int, ...], set[int]] = defaultdict(set)
        for tokens in (codes_NL + self._offsets_L).tolist():
            for level in range(self._num_levels):
                children[tuple(tokens[:level])].add(tokens[level])
        self._children = {prefix: sorted(tokens) for prefix, tokens in children.items()}
        torch.manual_seed(0)
        self._model = T5ForConditionalGeneration(
            T5Config(
                vocab_size=SPECIAL_TOKENS + codebook_size * self._num_levels,
                d_model=128,
                d_kv=64,
                d_ff=1024,
                num_layers=4,
                num_decoder_layers=4,
                num_heads=6,
                pad_token_id=0,
                eos_token_id=1,
            )
        )
        self._model.train(mode=False)

    def search(self, codes_BTL: NDArray[np.int64], *, k: int, beam_width: int) -> Callable[[], NDArray[np.int64]]:
        """Returns a function that recommends k items for each history, as codes of shape (B, k, L).

        Args:
            codes_BTL: The histories' codes, oldest item first.
            k: Number of items for each history.
            beam_width: Beam width of the search, at least k.
        """
        tokens_BX = torch.from_numpy((codes_BTL + self._offsets_L).reshape(len(codes_BTL), -1))

        def allowed(_user: int, generated: torch.Tensor) -> list[int]:
            return self._children[tuple(generated.tolist()[1:])]

        def run() -> NDArray[np.int64]:
            with torch.inference_mode():
                generated = self._model.generate(  # type: ignore[misc]
                    tokens_BX,
                    attention_mask=torch.ones_like(tokens_BX),
                    max_new_tokens=self._num_levels,
                    min_new_tokens=self._num_levels,
                    num_beams=beam_width,
                    num_return_sequences=k,
                    do_sample=False,
                    decoder_start_token_id=0,
                    prefix_allowed_tokens_fn=allowed,
                )
            assert isinstance(generated, torch.Tensor)
            found = generated[:, 1:].numpy() - self._offsets_L
            return np.asarray(found.reshape(len(codes_BTL), k, self._num_levels))

        return run
