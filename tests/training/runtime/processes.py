"""What the tests of training in several processes run in each of them.

Everything is computed in float64: rounding, which differs with the processor and with how a batch is cut, is then far
smaller than any fault.
"""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rqrec.models.retriever.catalogue_tensors import CatalogueTensors
from rqrec.models.retriever.retriever import Retriever
from rqrec.models.retriever.short_term_encoder import ShortTermEncoder
from rqrec.models.tokenizer.config import FeatureBlock, FeatureKind
from rqrec.models.tokenizer.quantize import QuantizeMode
from rqrec.models.tokenizer.rqvae import RqVae
from rqrec.models.trie.trie import SemanticIdTrie
from rqrec.training.data.splits import Sequences
from rqrec.training.retriever.decoder_settings import DecoderSettings, retriever_config
from rqrec.training.retriever.short_term_settings import ShortTermSettings, short_term_config
from rqrec.training.retriever.work import retriever_work
from rqrec.training.runtime.distributed import barrier, data_parallel, destroy, init, rank
from rqrec.training.runtime.loop import TrainingInterrupted, Work, add_gradients, train
from rqrec.training.runtime.schedule import Schedule
from rqrec.training.train_rqvae import RqVaeSettings, rqvae_config, rqvae_work
from rqrec.training.train_short_term import short_term_work

ITEMS, USERS = 64, 40
BLOCKS = (FeatureBlock("genres", FeatureKind.MULTI_HOT, 4), FeatureBlock("poster", FeatureKind.CONTINUOUS, 8))
# No chance: what is dropped and mixed would differ from process to process.
RQVAE = RqVaeSettings(
    hidden_widths=(16,), embed_dim=8, codebook_size=16, mode=QuantizeMode.ROTATION_TRICK, batch_size=21
)
SHORT_TERM = ShortTermSettings(width=8, dropout=0.0, negatives=ITEMS // 2, batch_size=25)
DECODER = DecoderSettings(
    width=16,
    num_heads=2,
    ff_width=32,
    encoder_layers=1,
    decoder_layers=1,
    max_history=8,
    dropout=0.0,
    decoder_dropout=0.0,
    feature_dropout=0.0,
    negatives=64,
    batch_size=25,
    bf16=False,
)
Weights = Mapping[str, Tensor]


def features() -> Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(np.hstack([rng.random((ITEMS, 4)) < 0.5, rng.normal(size=(ITEMS, 8))]).astype(np.float64))


def all_gradients(parts: str) -> Weights:
    """The gradients of every model for each number of accumulated parts, by "model/parts/parameter"."""
    models = {"rqvae": rqvae_gradients, "short_term": short_term_gradients, "retriever": retriever_gradients}
    return {
        f"{name}/{accumulate}/{parameter}": gradient
        for name, gradients in models.items()  # the retriever's are last: they change Tensor.float for good
        for accumulate in parts.split(",")
        for parameter, gradient in gradients(int(accumulate)).items()
    }


def rqvae_gradients(accumulate: int) -> Weights:
    features_NE = features()
    torch.manual_seed(rank())
    model = RqVae(rqvae_config(RQVAE, BLOCKS, num_distinct=ITEMS)).double().train()
    model.initialise(features_NE, seed=0)
    for parameter in model.parameters():  # no part starts at zero, where gradients vanish
        parameter.data += 0.01 * torch.randn_like(parameter)
    return gradients_of(model, rqvae_work(model, features_NE, RQVAE), accumulate)


def short_term_gradients(accumulate: int) -> Weights:
    torch.manual_seed(rank())
    model = ShortTermEncoder(short_term_config(SHORT_TERM, num_items=ITEMS, max_history=8)).double().train()
    sequences = random_sequences(np.random.default_rng(0))
    work = short_term_work(sequences, ITEMS, SHORT_TERM, max_history=8, device=torch.device("cpu"))
    return gradients_of(model, work, accumulate)


def retriever_gradients(accumulate: int) -> Weights:
    rng = np.random.default_rng(0)
    codes_NL = np.stack(np.unravel_index(rng.choice(8**3, ITEMS, replace=False), (8, 8, 8)), axis=1)
    trie = SemanticIdTrie.build(codes_NL, codebook_size=8)
    tokens = random_sequences(rng)
    torch.manual_seed(rank())
    features_NE = features()
    model = Retriever(retriever_config(DECODER, trie, feature_dim=features_NE.shape[1])).double().train()
    popularity_N = np.bincount(tokens.items_I, minlength=ITEMS)
    catalogue = CatalogueTensors.from_trie(trie, features_NE.numpy(), popularity_N, torch.device("cpu"))
    torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign] # losses are in float32 at the least
    return gradients_of(model, retriever_work(catalogue, tokens, DECODER), accumulate)


def random_sequences(rng: np.random.Generator) -> Sequences:
    lengths_U = rng.integers(2, 13, USERS)
    items_I = rng.integers(0, ITEMS, lengths_U.sum()).astype(np.int32)
    return Sequences.from_arrays(items_I, np.concatenate([[0], np.cumsum(lengths_U)]))


def gradients_of(model: nn.Module, work: Work[Any], accumulate: int) -> Weights:
    batch = next(iter(work.batches(0)))
    add_gradients(data_parallel(model), work, batch, 0.5, accumulate=accumulate)
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


def toy(folder: str, *, epochs: int, stop_after: int | None = None, killed_after: int | None = None) -> Weights:
    """A regression from weights that differ from process to process; returns what it ends with.

    It can be stopped after a step, or its second process can be killed once.
    """
    torch.manual_seed(rank())
    model = nn.Linear(4, 2).double()

    def batches(epoch: int) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(epoch)
        for _ in range(5):
            yield torch.randn(16, 4, generator=generator, dtype=torch.float64)

    def losses(replica: nn.Module, batch: Tensor, _done: float) -> Mapping[str, Tensor]:
        return {"loss": F.mse_loss(replica(batch), batch[:, :2] * batch.sum(1, keepdim=True))}

    def split(batch: Tensor, parts: int) -> list[tuple[Tensor, float]]:
        return [(rows, len(rows) / len(batch)) for rows in batch.tensor_split(parts)]

    def after_step(step: int) -> None:
        if step == stop_after and rank() == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        if step == killed_after and rank() == 1 and not (killed := Path(folder) / "killed").exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    work = Work(lambda _: 5, batches, losses, after_step=after_step, split=split)
    schedule = Schedule(epochs, 0.05, 0.1, 1.0, checkpoint_every_steps=2 if killed_after else 100)
    optimizer = torch.optim.AdamW(model.parameters())
    with contextlib.suppress(TrainingInterrupted):
        train("toy", model, optimizer, work, schedule, checkpoints=Path(folder) / "c", tensorboard=Path(folder) / "t")
    return model.state_dict()


TASKS: Mapping[str, Callable[[str], Weights]] = {
    "gradients": all_gradients,
    "start": lambda folder: toy(folder, epochs=0),
    "whole": lambda folder: toy(folder, epochs=2),
    "stopped": lambda folder: toy(folder, epochs=2, stop_after=3),
    "killed": lambda folder: toy(folder, epochs=2, killed_after=5),
}


def run_task(task: str, out: Path, argument: str) -> None:
    """Runs a task, and writes what it came to in this process to OUT-RANK.pt."""
    torch.set_num_threads(1)
    init()
    write_result(task, out, argument)
    destroy()


def write_result(task: str, out: Path, argument: str) -> None:
    """The same in a process that has joined the others."""
    torch.save(dict(TASKS[task](argument)), f"{out}-{rank()}.pt")
    barrier()
