"""Exhaustive scoring of the catalogue: what the search must agree with. Far too slow to serve.

Shapes: N leaves, L levels, T history items.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from models.retriever import CatalogueTensors, Retriever
from models.trie import IntArray


def exhaustive_log_probs(retriever: Retriever, catalogue: CatalogueTensors, history_T: IntArray) -> NDArray[np.float32]:
    """Scores every leaf by feeding its own codes to the decoder, all of them at once.

    Args:
        retriever: In evaluation mode.
        catalogue: Laid out by `CatalogueTensors.of`.
        history_T: Leaf positions, oldest first.

    Returns:
        log p of each leaf's code at each level given the history and the codes before, shape (N, L). Their sum over
        the levels is log p(item | history).
    """
    device = catalogue.codes_NL.device
    with torch.inference_mode():
        items_1TD = retriever.items(catalogue.codes_NL[torch.from_numpy(history_T).to(device)]).unsqueeze(0)
        state_D = retriever.history(items_1TD)[0, -1]
        leaves_N = torch.arange(len(catalogue.codes_NL), device=device)
        log_probs_NL = retriever.log_probs(state_D.expand(len(leaves_N), -1), leaves_N, catalogue)
    return np.asarray(log_probs_NL.cpu().numpy())
