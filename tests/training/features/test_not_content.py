from datetime import date

import polars as pl
import pytest

from rqrec.training.features.not_content import are_codes, is_number_of_group, why_not_content

TITLES = [
    "Heat",
    "Toy Story 2",
    "WALL-E",
    "1984",
    "The Hunger Games",
    "Up",
    "Alien",
    "千と千尋の神隠し",
    "M",
    "Big",
] * 2
UNEVEN = [3, 1, 4, 1, 5, 9, 2, 6, 5, 35]


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("shop", ["ours"] * 4, "all items have the same"),
        ("price", [19.99] * 4, "all items have the same"),
        ("price", [19.99, 19.99 + 1e-9], "all items have the same"),
        ("tags", [["a", "b"], ["a", "b"]], "all items have the same"),
        ("price", [1e16] * 4, "all items have the same"),
        ("price", [1e16, 1e16 + 2, 1e16 + 4], ""),
        ("row", list(range(12)), "the numbers of the rows"),
        ("rank", [3, 1, 2, *range(4, 13)], "the numbers of the rows"),
        ("index", list(range(500, 512)), "the numbers of the rows"),
        ("index", [float(row) for row in range(12)], "the numbers of the rows"),
        ("asin", [f"B00{n}X" for n in range(12)], "ids: almost all differ"),
        ("isbn", [*(f"{n}43902348X" for n in range(11)), None], "ids: almost all differ"),
        ("best_book_id", [7, 1, 19, 4], "ids: by its name, and few items share one"),
        ("isbn13", [9.78e12, 9.79e12, None], "ids: by its name, and few items share one"),
        ("goodsKey", [7, 1, 19, 4], "ids: by its name, and few items share one"),
        ("number", [4_006_381_333_900 + 37 * n * n for n in range(12)], "ids: long numbers that all differ"),
        ("empty", ["", None], "all values are missing"),
        ("empty", [[], None], "all values are missing"),
        ("price", [float("nan"), None], "all values are missing"),
        ("page", ["https://a.b/1", "http://a.b/2", None], "web addresses"),
        ("image_url", ["https://a.b/1.jpg?w=3", "https://a.b/2.PNG"], "addresses of images"),
        ("images", [["https://a.b/1.jpg", "https://a.b/2.jpg"], ["img/3.webp"], None], "addresses of images"),
        ("added", ["2024-01-31", "2024-02-01T10:30:00Z"], "dates"),
        ("added", ["25.04.2022", "1.5.2022 14:05"], "dates"),
        ("added", ["12/31/21", "01/02/22"], "dates"),
        ("added", [date(2024, 1, 31), date(2024, 2, 1)], "dates"),
    ],
)
def test_no_content(name: str, values: list[object], reason: str) -> None:
    column = pl.Series(name, values, strict=False, dtype=pl.List(pl.String) if values == [[], None] else None)
    assert why_not_content(column) == reason


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("title", TITLES),
        ("name", ["Pikachu", "Bulbasaur", "Mewtwo"]),  # single words that all differ
        ("slug", ["the-hunger-games", "catching-fire"]),
        ("year", [1990, 1991, 1992]),  # few rows may rise by one
        ("pages", UNEVEN),
        ("sales", [n * n for n in range(12)]),  # whole numbers that all differ
        ("added", [1_700_000_000 + 86_400 * n * n for n in range(12)]),  # Unix times
        ("about", ["see https://a.b/1 for more", "a picture: a.jpg and b.jpg"]),
        ("sale", [True, None]),  # what is missing may be the content
        ("paid", [7, 7, 5, None]),  # ends like "id", but is another word
    ],
)
def test_content(name: str, values: list[object]) -> None:
    assert why_not_content(pl.Series(name, values, strict=False)) == ""


def test_repeated_whole_numbers_named_as_ids_name_groups() -> None:
    assert is_number_of_group(pl.Series("brand_id", [7, 7, 9, 9]))
    assert is_number_of_group(pl.Series("details.categoryId", [7.0, 7.0, 9.0, 9.0, None]))
    assert not is_number_of_group(pl.Series("pages", [7, 7, 9, 9]))
    assert not is_number_of_group(pl.Series("brand_id", [7, 8, 9, 9]))
    assert not is_number_of_group(pl.Series("unpaid", [7, 7, 9, 9]))


def test_codes_have_digits_and_no_spaces() -> None:
    assert are_codes(pl.Series([["B001", "B002"], ["B003"]]))
    assert not are_codes(pl.Series(["Sci-Fi", "Film-Noir"]))
    assert not are_codes(pl.Series([1, 2]))
