"""Follows one item and one user through a trained model, and prints what goes in and what comes out of every step.

Train a model first, then run this from the root of the checkout:

    make train
    .venv/bin/python docs/guide/steps.py

`--figures FOLDER` also writes the figures of docs/guide.md, some of them from the report of the training.

Shapes: N items, L levels, E feature columns, D width of a latent vector, V codes per level.
"""

import argparse
import re
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rqrec.models.bundle.layout import REPORT
from rqrec.models.retriever.catalogue_tensors import CatalogueTensors
from rqrec.models.search.exhaustive import ExhaustiveScorer, ExhaustiveScores
from rqrec.models.tokenizer.featurizer import PRESENT
from rqrec.models.tokenizer.gumbel import gumbel_softmax
from rqrec.models.tokenizer.rqvae import RqVae
from rqrec.models.trie.trie import SemanticIdTrie
from rqrec.training.data.prepare import load_prepared, load_split
from rqrec.training.evaluation.baselines import item_popularity
from rqrec.training.evaluation.rqvae_quality import explained_by_levels
from rqrec.training.features.features import Features, load_features
from rqrec.training.report.plots import SERIES, VARIABLES, plot
from rqrec.training.runtime.workspace import Stage
from rqrec.training.tokenize_items import SemanticIds, load_semantic_ids
from rqrec.training.train_decoder import load_retriever
from rqrec.training.train_rqvae import load_rqvae

TEMPERATURES, DRAWS, SHOWN = (1.0, 0.3, 0.1), 500, 3
CLOSE = 5.0  # with this difference of logits, noise chooses the second codeword once in 150 draws
FROM_REPORT = {
    "loss.svg": "RQ-VAE: loss",
    "reconstruction.svg": "Reconstruction over time",
    "map.svg": "Map of the catalogue, coloured by first code",
    "together.svg": "Consecutive items of a user with equal codes",
    "code_losses.svg": "Retriever: loss of each code",
    "validation.svg": "Retriever: validation",
}
LIGHT = {"--ink": "#1c1e21", "--muted": "#5d646c", "--grid": "#e3e5e8"} | dict(
    zip((f"--series-{n}" for n in range(4)), ("#0b5cad", "#c2410c", "#15803d", "#7e22ce"), strict=True)
)


@dataclass(frozen=True)
class Model:
    """The results of the stages of one training.

    Attributes:
        names: The title of each item; its id if it has none.
        features: The features of all items.
        rqvae: The trained RQ-VAE.
        ids: The semantic IDs of all items.
        histories: The items of each test user, oldest first.
        targets: The next item of each test user.
        popularity_N: Number of training interactions of each item.
        scorer: Computes the probability of every item after a history.
        max_history: Number of most recent items that the retriever reads.
        trie: The tree of the semantic IDs.
    """

    names: list[str]
    features: Features
    rqvae: RqVae
    ids: SemanticIds
    histories: list[NDArray[np.int32]]
    targets: NDArray[np.int32]
    popularity_N: NDArray[np.int64]
    scorer: ExhaustiveScorer
    max_history: int
    trie: SemanticIdTrie

    @classmethod
    def load(cls, work_dir: Path) -> "Model":
        """Reads the results of the stages from the folder of a training."""
        data, features_stage, rqvae, tokens, decoder = (
            Stage(work_dir / name, "") for name in ("data", "features", "rqvae", "semantic_ids", "decoder")
        )
        items, split = load_prepared(data).items, load_split(data)
        features, ids, retriever = load_features(features_stage), load_semantic_ids(tokens), load_retriever(decoder)
        trie = SemanticIdTrie.build(ids.codes_NL, codebook_size=ids.codebook_size)
        popularity_N = item_popularity(split.train, len(items))
        catalogue = CatalogueTensors.from_trie(trie, features.features_NE, popularity_N, torch.device("cpu"))
        column = items["title"] if "title" in items.columns else items["item_id"]
        return cls(
            [str(name) for name in column],
            features,
            load_rqvae(rqvae),
            ids,
            [split.test.histories[user] for user in range(len(split.test))],
            split.test.targets_U,
            popularity_N,
            ExhaustiveScorer(retriever, trie, retriever.item_vectors(catalogue)),
            retriever.config.max_history,
            trie,
        )


def show_features(model: Model, item: int) -> Tensor:
    """Step 1: the item as numbers. Returns its features, shape (1, E)."""
    head("1. From attributes to features")
    features_1E = torch.from_numpy(model.features.features_NE[item : item + 1])
    print(f"item: {model.names[item]!r}, {model.popularity_N[item]} interactions")
    for block, columns in zip(model.rqvae.config.blocks, blocks_of(model, features_1E), strict=True):
        shown = ", ".join(f"{value:+.2f}" for value in columns[0, :6].tolist())
        print(f"  {block.name:22} {block.kind.value:10} {block.width:4} columns: {shown}{' …' * (block.width > 6)}")
    return features_1E


@torch.no_grad()
def show_encoder(model: Model, features_1E: Tensor) -> Tensor:
    """Step 2: the encoder. Returns the latent vector, shape (1, D)."""
    head("2. The encoder: features → latent vector")
    latent_1D = model.rqvae.encode(features_1E)
    shown = ", ".join(f"{value:+.3f}" for value in latent_1D[0, :6].tolist())
    print(f"{features_1E.shape[1]} numbers → {latent_1D.shape[1]} numbers of size {latent_1D.norm():.3f}: {shown} …")
    return latent_1D


@torch.no_grad()
def show_quantisation(model: Model, latent_1D: Tensor) -> list[float]:
    """Step 3: residual quantisation. Returns the size of what is left before and after each level."""
    head("3. Residual quantisation: latent vector → codes")
    residual_1D, sizes = latent_1D, [float(latent_1D.norm())]
    for level, quantizer in enumerate(model.rqvae.quantizers, start=1):
        distances_V = quantizer.squared_distances(residual_1D)[0]
        nearest = distances_V.topk(3, largest=False)
        code = int(nearest.indices[0])
        residual_1D = residual_1D - quantizer.codebook_VD[code]
        sizes.append(float(residual_1D.norm()))
        tried = ", ".join(f"{one} ({value:.3f})" for one, value in zip(*map(Tensor.tolist, nearest[::-1]), strict=True))
        print(f"level {level}: nearest codewords {tried} → code {code}; left: {sizes[-1]:.3f} of {sizes[0]:.3f}")
    everything_NE = torch.from_numpy(model.features.features_NE)
    print("what the decoder computes from the codes, over all items (100 % is a perfect copy, 0 % is the mean):")
    for levels, explained in enumerate(explained_by_levels(model.rqvae, everything_NE), start=1):
        shown = ", ".join(f"{name} {share:.0%}" for name, share in explained.items() if not name.endswith(PRESENT))
        print(f"  {levels} levels: {shown}")
    return sizes


@torch.no_grad()
def show_gumbel(model: Model) -> dict[float, NDArray[np.float32]]:
    """Step 4: the Gumbel-softmax of the first level, for an item between two codewords.

    Returns:
        By temperature, the mean weights of the weightiest codewords.
    """
    head("4. Gumbel-softmax: how a gradient passes the choice of a code")
    latents_ND = model.rqvae.encode(torch.from_numpy(model.features.features_NE))
    distances_NV = model.rqvae.quantizers[0].squared_distances(latents_ND)
    error = distances_NV.min(dim=1).values.mean()
    logits_NV = -distances_NV * (latents_ND.shape[1] / (2 * error))
    nearest = logits_NV.topk(2, dim=1)
    gaps_N = nearest.values[:, 0] - nearest.values[:, 1]
    item = int(gaps_N.argmin())
    print(f"{(gaps_N < CLOSE).float().mean():.1%} of the items are so near a second codeword that noise may choose it")
    print(f"one of them is {model.names[item]!r}, between the codes {nearest.indices[item].tolist()}")
    weights = {}
    for temperature in TEMPERATURES:
        generator = torch.Generator().manual_seed(0)
        draws_CV = gumbel_softmax(logits_NV[item].expand(DRAWS, -1), temperature, generator=generator)
        weights[temperature] = draws_CV.sort(dim=1, descending=True).values[:, :SHOWN].mean(0).numpy()
        print(f"temperature {temperature}: the largest weight of a draw is {weights[temperature][0]:.2f} on average")
    return weights


def show_semantic_id(model: Model, item: int) -> None:
    """Step 5: the semantic ID as a path in a tree, with the items that share its beginning."""
    head("5. The semantic ID: a path in a tree")
    codes = model.ids.codes_NL[item]
    print(f"{model.names[item]!r} is {'-'.join(map(str, codes))}; the last code tells items with equal codes apart")
    for length in range(len(codes)):
        below = np.flatnonzero((model.ids.codes_NL[:, :length] == codes[:length]).all(axis=1))
        popular = below[np.argsort(-model.popularity_N[below], kind="stable")[:4]]
        prefix = "-".join(map(str, codes[:length])) or "(the root)"
        print(f"  {prefix:12} {len(below):5} items: {'; '.join(model.names[one] for one in popular)}")


def show_generation(model: Model, user: int) -> tuple[ExhaustiveScores, NDArray[np.float64]]:
    """Step 6: the next item, code by code. Returns the scores of all items, and the probability of each first code."""
    head("6. Generation: history → first code → … → item")
    history = model.histories[user]
    print("the user's last items:", "; ".join(model.names[item] for item in history[-5:]))
    scores = model.scorer.score(model.trie.leaf_of_row_N[history[-model.max_history :]].astype(np.int64))
    codes_NL, probability_N = model.ids.codes_NL[model.trie.row_of_leaf_N], np.exp(scores.log_probs_N.astype(float))
    first_V = np.bincount(codes_NL[:, 0], probability_N, minlength=model.ids.codebook_size)
    prefix: list[int] = []
    for _ in range(codes_NL.shape[1]):
        is_below_N = (codes_NL[:, : len(prefix)] == prefix).all(axis=1) if prefix else np.ones(len(codes_NL), bool)
        children_V = np.bincount(codes_NL[is_below_N, len(prefix)], probability_N[is_below_N])
        best = np.argsort(-children_V)[:3]
        shown = ", ".join(f"{code}: {children_V[code]:.2%}" for code in best if children_V[code] > 0)
        print(f"  after {'-'.join(map(str, prefix)) or 'nothing':12} most probable next codes: {shown}")
        prefix.append(int(best[0]))
    print(f"all {len(codes_NL):,} items together have the probability {probability_N.sum():.4f}: no code leads nowhere")
    return scores, first_V


def show_list(model: Model, user: int, scores: ExhaustiveScores) -> None:
    """Step 7: the list that the user would get, the history left out."""
    head("7. The list: score = log-probability + weight × relevance")
    is_seen_N = np.isin(model.trie.row_of_leaf_N, model.histories[user])
    for rank, leaf in enumerate(np.argsort(np.where(is_seen_N, np.inf, -scores.scores_N))[:5], start=1):
        name, log_prob = model.names[model.trie.row_of_leaf_N[leaf]], scores.log_probs_N[leaf]
        print(f"  {rank}. {name:40} log-probability {log_prob:6.2f}, score {scores.scores_N[leaf]:6.2f}")
    print(f"the user did choose: {model.names[model.targets[user]]!r}")


def write_figures(
    folder: Path, sizes: list[float], weights: dict[float, NDArray[np.float32]], first_V: NDArray[np.float64]
) -> None:
    """Writes the figures of the guide as SVG files with a white background.

    Args:
        folder: The folder of the files.
        sizes: The size of what is left before and after each level.
        weights: The weights of the most weighty codewords by temperature.
        first_V: The probability of each first code after the user's history.
    """
    with plot("What each level leaves", "levels", "size of the rest (Euclidean norm)") as drawn:
        drawn.axes.bar([str(level) for level in range(len(sizes))], sizes, 0.6, color=SERIES[0])
    write_svg(folder / "residual.svg", drawn.svg)
    with plot("Weights of codewords", "codewords, weightiest first", "mean weight of 500 draws") as drawn:
        for number, (temperature, values) in enumerate(weights.items()):
            places = np.arange(len(values)) + 0.28 * (number - 1)
            drawn.axes.bar(places, values, 0.26, color=SERIES[number], label=f"temperature {temperature}")
        drawn.axes.set_xticks(range(SHOWN), [str(place + 1) for place in range(SHOWN)])
        drawn.axes.legend()
    write_svg(folder / "gumbel.svg", drawn.svg)
    best = np.argsort(-first_V)[:12]
    with plot("The first code after a history", "first code", "probability (%)") as drawn:
        drawn.axes.bar([str(code) for code in best], 100 * first_V[best], 0.6, color=SERIES[2])
    write_svg(folder / "first_code.svg", drawn.svg)


def copy_figures(report: Path, folder: Path) -> None:
    """Takes figures out of the page of a training report.

    Args:
        report: The page.
        folder: The folder of the new files.
    """
    page = report.read_text(encoding="utf-8")
    for name, title in FROM_REPORT.items():
        found = re.search(rf'<svg [^>]*aria-label="{re.escape(escape(title))}">.*?</svg>', page, re.DOTALL)
        if found is not None:  # a small training may lack it
            write_svg(folder / name, found[0])


def write_svg(path: Path, svg: str) -> None:
    """Writes a plot of the report as a file of its own, with the colours of a light page.

    Args:
        path: The file.
        svg: The plot.
    """
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="600"'
    text = svg.replace("<svg ", f'<svg {spaces} style="background: #ffffff; font-family: sans-serif" ', 1)
    for variable in VARIABLES.values():
        text = text.replace(f"var({variable})", LIGHT.get(variable, "#4b5563"))
    path.write_text(f"{text}\n", encoding="utf-8")


def blocks_of(model: Model, features_BE: Tensor) -> tuple[Tensor, ...]:
    """Divides feature columns into the blocks of the RQ-VAE.

    Args:
        model: The model.
        features_BE: Features of items, shape (B, E).
    """
    parts: tuple[Tensor, ...] = features_BE.split([block.width for block in model.rqvae.config.blocks], dim=1)
    return parts


def head(text: str) -> None:
    """Prints the title of a step."""
    print(f"\n{text}\n{'-' * len(text)}")


def main() -> None:
    """Runs all steps."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--work-dir", type=Path, default=Path("artifacts/ml-100k"), help="the folder of a training")
    options.add_argument("--item", help="the title of the item to follow (default: the most popular one)")
    options.add_argument("--user", type=int, default=0, help="the number of the test user to follow, from 0")
    options.add_argument("--figures", type=Path, help="write the figures of the guide into this folder")
    chosen = options.parse_args()
    model = Model.load(chosen.work_dir)
    if chosen.item is not None and chosen.item not in model.names:
        options.error(f"--item must be the title of an item, got {chosen.item!r}")
    if not 0 <= chosen.user < len(model.histories):
        options.error(f"--user must be in 0..{len(model.histories) - 1}, got {chosen.user}")
    item = int(model.popularity_N.argmax()) if chosen.item is None else model.names.index(chosen.item)
    features_1E = show_features(model, item)
    sizes = show_quantisation(model, show_encoder(model, features_1E))
    weights = show_gumbel(model)
    show_semantic_id(model, item)
    scores, first_V = show_generation(model, chosen.user)
    show_list(model, chosen.user, scores)
    if chosen.figures is not None:
        chosen.figures.mkdir(parents=True, exist_ok=True)
        write_figures(chosen.figures, sizes, weights, first_V)
        copy_figures(chosen.work_dir / "report" / REPORT, chosen.figures)


if __name__ == "__main__":
    main()
