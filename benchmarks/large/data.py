"""Measures time and memory from files to training batches, for data of MovieLens-25M's size and a fifth of it.

    python -m benchmarks.large.data
    python -m benchmarks.large.data --ratings 25_000_000 250_000_000 --vector-dim 128

The files are synthetic, in the layout of the release: 25 million ratings of 162,000 users, and 62,000 movies with
poster vectors of 1,128 numbers. Users and movies grow with the ratings: 250 million ratings are of 1.6 million users
and 620,000 movies, and need 20 GB in the folder of temporary files (TMPDIR). Each measurement runs in a process of its
own. The last line has the growth: time and memory for an interaction of the largest data, as a multiple of those of the
smallest.
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.support.machine import description
from rqrec.training.data.prepare import load_prepared, prepare_data
from rqrec.training.data.sequences import SeqData, move_to_disk, tokenize_sequences
from rqrec.training.data.settings import DatasetSettings
from rqrec.training.data.splits import user_sequences
from rqrec.training.data.splitting.leave_one_out import leave_one_out
from rqrec.training.runtime.workspace import open_workspace

SIZES = (5_000_000, 25_000_000)
RATINGS, USERS, MOVIES, VECTOR_DIM = 25_000_000, 162_000, 62_000, 1128
GENRES = ("Action", "Comedy", "Drama", "Horror", "Romance", "War")
FIRST_TIME, LAST_TIME = 789_652_009, 1_574_327_703
LIKING = 0.65  # about 15 % of the ratings are dislikes, as in the release
CHUNK = 5_000_000
REPEATED = 1.16  # draws for one distinct pair
BATCHES = 50  # number of batches of the first epoch that are drawn


def write_release(folder: Path, *, ratings: int, users: int, movies: int, vector_dim: int) -> None:
    """Writes movies.csv, ratings.csv and poster vectors. Users and movies are skewed, and all pairs are distinct.

    Args:
        folder: The folder to write.
        ratings: Approximate number of ratings.
        users: Number of users.
        movies: Number of movies.
        vector_dim: Length of a poster vector.
    """
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    movie_ids = np.sort(rng.choice(10 * movies, movies, replace=False)) + 1
    pl.DataFrame(
        {
            "movieId": movie_ids,
            "title": [f"Film {movie} ({1950 + movie % 70})" for movie in movie_ids],
            "genres": [f"{GENRES[movie % 6]}|{GENRES[movie % 5]}" for movie in movie_ids],
        }
    ).write_csv(folder / "movies.csv")
    np.save(folder / "poster_vectors.npy", rng.standard_normal((movies, vector_dim), dtype=np.float32))
    pl.DataFrame({"movieId": movie_ids}).write_csv(folder / "poster_ids.csv")
    popularity = (np.arange(movies) + 10.0) ** -0.9
    bounds = np.cumsum(popularity / popularity.sum())
    activity = rng.permutation((np.arange(users) + 50.0) ** -0.7)
    counts = np.maximum((activity / activity.sum() * ratings * REPEATED).astype(np.int64), 20)
    with (folder / "ratings.csv").open("wb") as file:
        begin = 0
        while begin < users:
            end = max(int(np.searchsorted(np.cumsum(counts[begin:]), CHUNK)) + begin, begin + 1)
            user = np.repeat(np.arange(begin, end), counts[begin:end])
            movie = rng.permutation(movies)[np.searchsorted(bounds, rng.random(len(user))).clip(max=movies - 1)]
            frame = pl.DataFrame(
                {
                    "userId": user + 1,
                    "movieId": movie_ids[movie],
                    "rating": (rng.binomial(9, LIKING, len(user)) + 1) / 2,
                    "timestamp": rng.integers(FIRST_TIME, LAST_TIME, len(user)),
                }
            ).unique(["userId", "movieId"], keep="first", maintain_order=True)
            frame.write_csv(file, include_header=begin == 0)
            begin = end


def measure(folder: Path, root: Path) -> dict[str, float]:
    """Reads, checks, splits and batches a release in this process.

    Args:
        folder: The folder of the release.
        root: The folder of the stage's result.

    Returns:
        Seconds of each part, counts of what was read, and the peak resident memory in GB.
    """
    seconds = {}
    begin = time.perf_counter()
    with open_workspace(root, root) as workspace:
        stage = prepare_data(workspace, DatasetSettings(source=str(folder)))
    seconds["read_s"], read_gb = time.perf_counter() - begin, _peak_gb()
    begin = time.perf_counter()
    dataset = load_prepared(stage)
    interactions, items = len(dataset.interactions), len(dataset.items)
    split = leave_one_out(user_sequences(dataset))
    seconds["split_s"] = time.perf_counter() - begin
    begin = time.perf_counter()
    tokens = tokenize_sequences(split.train, np.random.default_rng(0).permutation(items))
    del dataset, split
    tokens = move_to_disk(tokens, root / "sequences.npy")
    batches = SeqData(tokens, max_history=50, batch_size=256, seed=0).epoch(0)
    positions = sum(int((batch.targets_BT >= 0).sum()) for batch in islice(batches, BATCHES))
    seconds["sequence_s"] = time.perf_counter() - begin
    total, cpu_s = sum(seconds.values()), time.process_time()
    read = {"interactions": interactions, "items": items, "positions": positions}
    return {**seconds, "total_s": total, "cpu_s": cpu_s, "read_peak_gb": read_gb, "peak_gb": _peak_gb(), **read}


def _peak_gb() -> float:
    """The peak resident memory of this process so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def main() -> None:
    """Writes each release to a temporary folder, measures, and prints one line of JSON for each, and the growth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratings", type=int, nargs="+", default=SIZES, help="numbers of ratings, ascending")
    parser.add_argument("--vector-dim", type=int, default=VECTOR_DIM, help="length of a poster vector")
    arguments = parser.parse_args()
    print(description())
    found = []
    for ratings in arguments.ratings:
        share = ratings / RATINGS
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "ml-25m"
            users, movies = (max(int(count * share), 100) for count in (USERS, MOVIES))
            write_release(folder, ratings=ratings, users=users, movies=movies, vector_dim=arguments.vector_dim)
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                found.append(pool.apply(measure, (folder, Path(name) / "work")))
        print(json.dumps({name: round(value, 2) for name, value in found[-1].items()}), flush=True)
    growth = {name: _of_one(found[-1], name) / _of_one(found[0], name) for name in ("total_s", "cpu_s", "peak_gb")}
    print(json.dumps({"growth": {name: round(ratio, 2) for name, ratio in growth.items()}}))


def _of_one(figures: Mapping[str, float], name: str) -> float:
    return figures[name] / figures["interactions"]


if __name__ == "__main__":
    main()
