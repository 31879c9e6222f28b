from pathlib import Path

import numpy as np
import polars as pl
import pytest

from rqrec.training.data.dataset import DataError
from rqrec.training.data.movielens import (
    GENRES_100K,
    ML25MItemData,
    read_1m_layout,
    read_100k_layout,
    read_100k_parquet,
    read_csv_layout,
)

MOVIES_CSV = (
    "movieId,title,genres\n"
    "1,Toy Story (1995),Adventure|Animation\n"
    '11,"American President, The (1995)",Comedy\n'
    "7,Untitled,(no genres listed)\n"
)
RATINGS_CSV = "userId,movieId,rating,timestamp\n1,1,4.0,964982703\n1,11,4.5,964981247\n2,7,3.0,964980000\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "movies.csv").write_text(MOVIES_CSV)
    (tmp_path / "ratings.csv").write_text(RATINGS_CSV)
    return tmp_path


def add_posters(folder: Path, ids: list[int], vectors: np.ndarray) -> None:
    np.save(folder / "poster_vectors.npy", vectors)
    pl.DataFrame({"movieId": ids}).write_csv(folder / "poster_ids.csv")


def check_toy_story(interactions: pl.LazyFrame, items: pl.DataFrame) -> None:
    assert items.row(0)[:3] == ("1", "Toy Story", 1995)
    assert "Animation" in items["genres"][0].to_list()
    frame = interactions.collect()
    assert frame.row(0)[:3] == ("1", "1", 964982703)
    assert float(frame["rating"][0]) in (4, 5)


def test_reads_the_csv_layout(folder: Path) -> None:
    interactions, items = read_csv_layout(folder)
    check_toy_story(interactions, items)
    assert items["title"].to_list() == ["Toy Story", "American President, The", "Untitled"]
    assert items["year"].to_list() == [1995, 1995, None]
    assert items["genres"].to_list() == [["Adventure", "Animation"], ["Comedy"], []]
    assert len(interactions.collect()) == 3


def test_reads_the_1m_layout(tmp_path: Path) -> None:
    movies = "1::Toy Story (1995)::Animation|Children's\n2::Épée: The Sword (1990)::Drama\n"
    (tmp_path / "movies.dat").write_text(movies, encoding="latin-1")
    (tmp_path / "ratings.dat").write_text("1::1::5::964982703\n1::2::4::978302109\n")
    interactions, items = read_1m_layout(tmp_path)
    check_toy_story(interactions, items)
    assert items["title"][1] == "Épée: The Sword"


def test_reads_the_100k_layout(tmp_path: Path) -> None:
    flags = "|".join("1" if genre == "Animation" else "0" for genre in GENRES_100K)
    (tmp_path / "u.item").write_text(f"1|Toy Story (1995)|01-Jan-1995||http://x|{flags}\n", encoding="latin-1")
    (tmp_path / "u.data").write_text("1\t1\t5\t964982703\n")
    check_toy_story(*read_100k_layout(tmp_path))


def test_reads_the_100k_parquet_files(tmp_path: Path) -> None:
    flags = {genre: [int(genre == "Animation")] for genre in GENRES_100K}
    pl.DataFrame({"movie_id": [1], "movie_title": ["Toy Story (1995)"], **flags}).write_parquet(
        tmp_path / "MovieLens100k_items.parquet.brotli"
    )
    ratings = {"user_id": [1], "movie_id": [1], "rating": [5], "timestamp": [964982703]}
    pl.DataFrame(ratings).write_parquet(tmp_path / "MovieLens100k_data.parquet.brotli")
    check_toy_story(*read_100k_parquet(tmp_path))


def test_posters_are_matched_by_id_whatever_their_order(folder: Path) -> None:
    add_posters(folder, [7, 1, 11], np.array([[7.0, 7.5], [1.0, 1.5], [11.0, 11.5]]))
    items = ML25MItemData(folder).read()
    assert items["item_id"].to_list() == ["1", "11", "7"]
    assert items["poster"].to_list() == [[1.0, 1.5], [11.0, 11.5], [7.0, 7.5]]


def test_a_missing_poster_is_null(folder: Path) -> None:
    add_posters(folder, [7, 1], np.array([[7.0], [1.0]]))
    assert ML25MItemData(folder).read()["poster"].to_list() == [[1.0], None, [7.0]]


@pytest.mark.parametrize(
    ("ids", "vectors", "message"),
    [
        ([1, 7], np.zeros((3, 2)), r"must have shape \(2, E\), one row for each id in poster_ids.csv, got \(3, 2\)"),
        ([1], np.zeros(3), r"got \(3,\)"),
        ([1, 1], np.zeros((2, 2)), "data row 2: a movieId must be listed once"),
        (
            [1, 99],
            np.zeros((2, 2)),
            "poster_ids.csv, data row 2: movies.csv does not have the movieId '99' .1 such rows",
        ),
        ([1, 7], np.array([["a"], ["b"]]), "must hold numbers, got an array of <U1: save it as float32"),
        ([1, 7], np.array([[0.0], [np.nan]]), "must hold finite numbers, but row 1 does not"),
    ],
)
def test_refuses_posters_that_cannot_be_matched(
    folder: Path, ids: list[int], vectors: np.ndarray, message: str
) -> None:
    add_posters(folder, ids, vectors)
    with pytest.raises(DataError, match=message):
        ML25MItemData(folder).read()


@pytest.mark.parametrize("name", ["poster_vectors.npy", "poster_ids.csv"])
def test_refuses_one_poster_file_without_the_other(folder: Path, name: str) -> None:
    add_posters(folder, [1], np.zeros((1, 2)))
    (folder / name).unlink()
    with pytest.raises(DataError, match=f"{name}, but there is no such file"):
        ML25MItemData(folder).read()


@pytest.mark.parametrize("name", ["movies.csv", "ratings.csv"])
def test_refuses_a_missing_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(DataError, match=f"{name}, but there is no such file"):
        read_csv_layout(folder)


def test_a_file_with_capitals_in_its_name_is_named(folder: Path) -> None:
    (folder / "movies.csv").rename(folder / "Movies.csv")
    with pytest.raises(DataError, match=r"movies.csv, but there is no such file: rename 'Movies.csv'"):
        read_csv_layout(folder)


def test_refuses_a_missing_column(folder: Path) -> None:
    (folder / "ratings.csv").write_text("userId,movieId,rating\n1,1,4\n")
    with pytest.raises(DataError, match=r"but \['timestamp'\] are missing"):
        read_csv_layout(folder)


def test_refuses_a_line_with_too_few_fields(tmp_path: Path) -> None:
    (tmp_path / "movies.dat").write_text("1::Toy Story (1995)::Animation\n\n2::Heat\n")
    with pytest.raises(DataError, match="must have 3 fields a line .*, but line 3 has 2"):
        read_1m_layout(tmp_path)


def test_only_line_feeds_end_a_line(tmp_path: Path) -> None:
    (tmp_path / "movies.dat").write_bytes(b"1::Wait\x85 Go (1995)::Drama\r\n2::Heat (1995)::Action\r\n")
    (tmp_path / "ratings.dat").write_text("1::1::5::10\n")
    assert read_1m_layout(tmp_path)[1]["title"].to_list() == ["Wait\x85 Go", "Heat"]


@pytest.mark.parametrize("name", ["movies.dat", "ratings.dat"])
def test_refuses_an_empty_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "movies.dat").write_text("1::Toy Story (1995)::Animation\n")
    (tmp_path / "ratings.dat").write_text("1::1::5::10\n")
    (tmp_path / name).write_text("\n")
    with pytest.raises(DataError, match=f"{name} must hold lines of .*, but it is empty"):
        read_1m_layout(tmp_path)
