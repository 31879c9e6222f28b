"""What networks that score all items have in common: their stage, their validation and their lists.

Shapes: B users, T history items, U users, K list length, N items.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rqrec.training.data.prepare import load_prepared, load_split
from rqrec.training.data.splits import Holdout, Split
from rqrec.training.evaluation.metrics import ndcg_at_k, ranks_of_targets
from rqrec.training.evaluation.rank_holdout import USERS_PER_BATCH
from rqrec.training.runtime.workspace import Stage, Workspace

CPU = torch.device("cpu")
WEIGHTS = "network.safetensors"
VALIDATION_K, VALIDATION_USERS = 10, 5000
Network = TypeVar("Network", bound=nn.Module)
SettingsT = TypeVar("SettingsT")
SettingsT_contra = TypeVar("SettingsT_contra", contravariant=True)


class Fit(Protocol[SettingsT_contra]):
    """A function that trains a network. It keeps the weights with the best NDCG in validation."""

    def __call__(
        self, split: Split, num_items: int, settings: SettingsT_contra, checkpoints: Path, tensorboard: Path
    ) -> nn.Module:
        """Trains a network and returns it in evaluation mode, on the CPU.

        Args:
            split: The sequences to train on, and the users to validate with.
            num_items: N.
            settings: The network's sizes and its training.
            checkpoints: The folder of this training's checkpoints.
            tensorboard: The folder of all TensorBoard files.
        """


def train_network(workspace: Workspace, data: Stage, name: str, settings: SettingsT, fit: Fit[SettingsT]) -> Stage:
    """Trains a network as a stage. It resumes from a checkpoint of the same data and settings.

    Args:
        workspace: The folder of the run.
        data: The prepared data.
        name: Name of the stage.
        settings: The network's sizes and its training, a dataclass.
        fit: Trains the network.
    """

    def write(directory: Path, checkpoints: Path) -> None:
        num_items = len(load_prepared(data).items)
        network = fit(load_split(data), num_items, settings, checkpoints, workspace.tensorboard)
        save_file(network.state_dict(), directory / WEIGHTS)

    return workspace.train(name, inputs=[data], settings=settings, write=write)


def load_network(stage: Stage, network: Network) -> Network:
    """Reads the weights that `train_network` saved into a network of the same sizes, and returns it for evaluation.

    Args:
        stage: The stage that `train_network` returned.
        network: The network, on the CPU.
    """
    network.load_state_dict(load_file(stage.path / WEIGHTS))
    return network.eval()


def validation(
    network: Callable[[Tensor], Tensor], split: Split, *, seed: int, max_history: int, device: torch.device
) -> Callable[[], float]:
    """Returns a function that computes the NDCG of a network's lists for a sample of the validation users.

    Args:
        network: Scores all items; see `rank_by_network`.
        split: Has the validation users.
        seed: Seed of the sample.
        max_history: Number of most recent items that are read.
        device: The device of the network.
    """
    sample = split.validation.sample(VALIDATION_USERS, seed=seed)

    def validate() -> float:
        lists_UK = rank_by_network(network, sample, k=VALIDATION_K, max_history=max_history, device=device)
        return ndcg_at_k(ranks_of_targets(lists_UK, sample.targets_U), k=VALIDATION_K)

    return validate


@torch.no_grad()
def rank_by_network(
    network: Callable[[Tensor], Tensor], holdout: Holdout, *, k: int, max_history: int, device: torch.device = CPU
) -> NDArray[np.int64]:
    """Recommends the k best-scored items that are not in the user's history.

    Args:
        network: Computes from histories of one length (item_index, oldest first, int64, shape (B, T)) the scores of all
            items, shape (B, N). It is in evaluation mode.
        holdout: The users to recommend to.
        k: List length.
        max_history: Number of most recent items that are read.
        device: The device of the network.

    Returns:
        item_index of shape (U, K), best first.
    """
    lists_UK = np.empty((len(holdout), k), dtype=np.int64)
    lengths_U = np.minimum(holdout.histories.lengths_U, max_history)
    for length in np.unique(lengths_U):
        same_length = np.flatnonzero(lengths_U == length)
        for users in np.array_split(same_length, -(-len(same_length) // USERS_PER_BATCH)):
            histories = [holdout.histories[user].astype(np.int64) for user in users]
            recent_BT = np.stack([history[-length:] for history in histories])
            scores_BN = network(torch.from_numpy(recent_BT).to(device))
            for row, history in enumerate(histories):
                scores_BN[row, torch.from_numpy(history)] = -torch.inf
            lists_UK[users] = scores_BN.topk(k).indices.cpu().numpy()
    return lists_UK
