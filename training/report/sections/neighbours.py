"""The section with nearest neighbours of ten items, from very popular to rare."""

from html import escape

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.preprocessing import normalize

from rqrec.training.report.material import Material
from rqrec.training.report.section import Figure, Section

PLACES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # by popularity
COUNT = 4
SHARED = "●"


def neighbours(material: Material) -> Section:
    """Returns the section with nearest neighbours."""
    compared_C = material.compared_C
    chosen = sorted({min(place, len(compared_C)) - 1 for place in PLACES})
    with torch.no_grad():
        latents_CD = material.rqvae.encode(torch.from_numpy(material.features_CE)).numpy()
    spaces = {"by content and co-occurrence": latents_CD}
    if material.embeddings_NF is not None:
        spaces["by what users choose next"] = material.embeddings_NF[compared_C]
    found = {name: _nearest(normalize(vectors), chosen) for name, vectors in spaces.items()}
    cards = []
    for number, place in enumerate(chosen):
        row = compared_C[place]
        lists = "".join(
            f"<div><h5>{escape(name)}</h5><ol>{_lines(material, row, compared_C, *one[number])}</ol></div>"
            for name, one in found.items()
        )
        codes = "-".join(map(str, material.ids.codes_NL[row]))
        head = f"<h4>{escape(material.names(np.array([row]))[0])}</h4>"
        about = f"<p>{material.popularity_N[row]:,} interactions, semantic ID {codes}</p>"
        cards.append(f'<article class="card">{head}{about}<div class="pair">{lists}</div></article>')
    figure = Figure(
        "Nearest neighbours of ten items",
        f'<div class="cards">{"".join(cards)}</div>',
        "The cosine of two vectors: 1 is the same direction, 0 has nothing in common. By content, they are the latent "
        "vectors of the RQ-VAE; by what users choose next, the embeddings of the short-term encoder. "
        f"{SHARED} has the same first code.",
        "Neighbours that no one would expect, or the same popular items everywhere. By what users choose next, rare "
        "items always have worse ones.",
        is_wide=True,
    )
    return Section(
        "Nearest neighbours",
        "Ten items from the most popular one downwards, and the items that the networks find most like them among the "
        f"{len(compared_C):,} most popular ones.",
        [figure],
    )


def _nearest(unit_CD: NDArray[np.float32], chosen: list[int]) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Returns for each chosen row the nearest other rows, best first, and their cosines."""
    found = []
    for place in chosen:
        cosines_C = unit_CD @ unit_CD[place]
        cosines_C[place] = -np.inf
        nearest = np.argsort(-cosines_C, kind="stable")[: min(COUNT, len(unit_CD) - 1)]
        found.append((nearest, cosines_C[nearest]))
    return found


def _lines(
    material: Material,
    row: np.int64,
    compared_C: NDArray[np.int64],
    nearest: NDArray[np.int64],
    cosines: NDArray[np.float32],
) -> str:
    rows, first_N = compared_C[nearest], material.ids.codes_NL[:, 0]
    marks = [f' <b title="same first code">{SHARED}</b>' if first_N[one] == first_N[row] else "" for one in rows]
    return "".join(
        f"<li>{escape(name)}{mark} <small>{cosine:.2f}</small></li>"
        for name, mark, cosine in zip(material.names(rows), marks, cosines, strict=True)
    )
