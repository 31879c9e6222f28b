"""Makes a bundle of any number of items from a trained one: copies of its items with other ids, titles and vectors.

Shapes: N items, R items of the trained bundle, D width of learnt vectors, P content width.
"""

import shutil
from argparse import ArgumentParser
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.support.synthetic import CODEBOOK_SIZE, synthetic_codes
from rqrec.models.array_types import FloatArray
from rqrec.models.bundle.bundle import Bundle, read_bundle
from rqrec.models.bundle.golden import record_golden
from rqrec.models.bundle.layout import CONTENTS, FEATURES, ITEMS, LEARNED_ITEMS, MAP, MEANINGS, TRANSITIONS
from rqrec.models.bundle.learned_items import LearnedItems
from rqrec.models.bundle.manifest import seal_bundle
from rqrec.models.bundle.tables import ITEM_ID
from rqrec.service.composition import load_options
from rqrec.service.serving.loading import load_snapshot
from rqrec.service.settings import Settings
from rqrec.service.telemetry import Metrics
from rqrec.training.insight.meanings import find_meanings

TITLE, MAKER = "title", "maker"
MAKERS, WORDS = 20_000, 200_000
SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprst" for vowel in "aeiou"]
VECTOR_NOISE, MAP_NOISE = 0.3, 0.03  # of a vector's length, and of the map's half width


def check_enlargeable(bundle: Bundle) -> None:
    """Checks that a bundle has a map and the number of codes per level of synthetic IDs.

    Args:
        bundle: The bundle whose items are to be copied.

    Raises:
        ValueError: If it does not.
    """
    size = bundle.manifest.codebook_size
    if size != CODEBOOK_SIZE or bundle.map is None:
        found = f"{size} codes and {'no' if bundle.map is None else 'a'} map"
        raise ValueError(
            f"a larger catalogue needs a bundle with {CODEBOOK_SIZE} codes per level and a map, but {bundle.path} has "
            f"{found}: use a bundle of the default recipe, or its own catalogue"
        )


def bundle_of(path: Path, parser: ArgumentParser, *, enlarges: bool) -> Bundle:
    """Reads the bundle of a command line, and ends the program if it has to be enlarged and cannot.

    Args:
        path: A bundle, or a folder of bundles.
        parser: Tells the reason.
        enlarges: Whether the bundle has to be enlarged.
    """
    bundle = read_bundle(path)
    if enlarges:
        try:
            check_enlargeable(bundle)
        except ValueError as error:
            parser.error(str(error))
    return bundle


def enlarged(bundle: Bundle, folder: Path, num_items: int) -> Path:
    """Writes a bundle with copies of the given bundle's items. Returns its folder.

    Semantic IDs are synthetic. Two words of a vocabulary of 200,000 are added to each title, noise to each vector, and
    a label `maker` with 20,000 values to each item. One million items take about 4 GB of memory and some minutes.

    Args:
        bundle: The bundle whose items are copied; see `check_enlargeable`.
        folder: The parent of the new bundle's folder.
        num_items: N, the number of items in the new bundle.

    Raises:
        ValueError: If the bundle cannot be enlarged.
    """
    check_enlargeable(bundle)
    assert bundle.map is not None
    shutil.copytree(bundle.path, target := folder / f"{num_items}-items")
    (target / FEATURES).unlink(missing_ok=True)  # only a retraining reads them
    rng, rows_N = np.random.default_rng(0), np.arange(num_items) % len(bundle.items)
    codes_NL, popularity_N = synthetic_codes(num_items, seed=0), bundle.learned.popularity_R[rows_N]
    items = _items(bundle.items[rows_N], rng)
    items.write_parquet(target / ITEMS)
    vectors_ND = _noisy(bundle.learned.vectors_RD[rows_N], VECTOR_NOISE, rng)
    LearnedItems(codes_NL, popularity_N, vectors_ND).write(target / LEARNED_ITEMS)
    contents_RP = np.load(bundle.path / CONTENTS, allow_pickle=False)
    np.save(target / CONTENTS, _noisy(contents_RP[rows_N], VECTOR_NOISE, rng), allow_pickle=False)
    noise_N2 = rng.normal(scale=MAP_NOISE, size=(num_items, 2))
    np.save(target / MAP, (bundle.map.places_R2[rows_N] + noise_N2).astype(np.float32), allow_pickle=False)
    if bundle.transitions is not None:  # the items that followed a copy are those of the trained bundle
        pl.read_parquet(bundle.path / TRANSITIONS)[rows_N].write_parquet(target / TRANSITIONS)
    find_meanings(codes_NL, items, bundle.featurizer, codebook_size=CODEBOOK_SIZE).write_parquet(target / MEANINGS)
    manifest = replace(bundle.manifest, version=target.name, num_items=num_items, golden=[], has_features=False)
    seal_bundle(target, manifest)
    snapshot = load_snapshot(read_bundle(target), load_options(Settings(bundle=target)), Metrics())
    golden = record_golden(snapshot.recommender, popularity_N)
    seal_bundle(target, replace(manifest, golden=[asdict(one) for one in golden]))
    return target


def _items(copies: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """The copies of items with other ids, longer titles, and makers."""
    ids = pl.Series(ITEM_ID, [f"copy-{number}" for number in range(len(copies))])
    makers = _skewed(MAKERS, len(copies), rng)
    named = copies.with_columns(ids, pl.Series(MAKER, [f"{_word(number)} & co" for number in makers]))
    if TITLE not in named.columns:
        return named
    pairs = zip(*(_skewed(WORDS, len(copies), rng) for _ in range(2)), strict=True)
    added = pl.Series([f" {_word(one)} {_word(other)}" for one, other in pairs])
    return named.with_columns(named[TITLE].fill_null("") + added)


def _skewed(count: int, draws: int, rng: np.random.Generator) -> list[int]:
    """Numbers below a count, of which small ones are more common."""
    numbers: list[int] = (count * rng.random(draws) ** 3).astype(np.int64).tolist()
    return numbers


def _word(number: int) -> str:
    """A word that stands for a number."""
    word = ""
    for _ in range(4):
        number, syllable = divmod(number, len(SYLLABLES))
        word += SYLLABLES[syllable]
    return word


def _noisy(vectors_NX: FloatArray, share: float, rng: np.random.Generator) -> FloatArray:
    """Vectors with noise, whose length is a share of the mean vector's length; of the same type."""
    length = float(np.linalg.norm(vectors_NX[:1000].astype(np.float32), axis=1).mean())
    noise_NX = rng.standard_normal(vectors_NX.shape, dtype=np.float32) * (share * length / vectors_NX.shape[1] ** 0.5)
    noisy_NX: FloatArray = (vectors_NX + noise_NX).astype(vectors_NX.dtype)
    return noisy_NX
