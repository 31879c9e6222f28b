import polars as pl

from rqrec.training.data.columns import Column
from rqrec.training.features.column_table import columns_of_items, columns_table
from rqrec.training.features.column_use import decide_uses

ITEMS = pl.DataFrame(
    {
        "item_id": ["a", "b", "c", "d"],
        "title": ["a [red] shoe\nwith laces", "a blue hat", "a red hat", None],
        "genres": [["new", "old"], ["new"], ["new"], None],
        "sku": ["A1", "B2", "C3", "D4"],
        "price": [1.5, 2.5, None, 9.0],
    }
)


def lines(*others: Column) -> list[str]:
    uses = decide_uses(ITEMS, {}, min_label_count=2)
    return columns_table([*others, *columns_of_items(ITEMS, uses)]).splitlines()


def test_every_column_has_a_line_with_its_use_and_the_reason() -> None:
    shown = {line.split()[0]: " ".join(line.split()) for line in lines()}
    assert shown["item_id"] == "item_id item_id names the item 4 (100 %) 0 % a"
    assert shown["title"].startswith("title text most values differ 3 (100 %) 25 % a [red] shoe")
    assert shown["genres"].startswith("genres labels, text lists of words 2 (50 %) 25 %")
    assert shown["sku"] == "sku not used ids: almost all differ 4 (100 %) 0 % A1"
    assert shown["price"] == "price number numbers 3 (100 %) 25 % 1.5"


def test_interactions_come_first_and_columns_that_were_not_read_are_shown() -> None:
    shown = lines(
        Column("items", "spare", "not used", "not read, by DatasetSettings.ignored_columns"),
        Column("interactions", "session", "not used", "no use for it among interactions"),
    )
    places = [
        next(n for n, line in enumerate(shown) if word in line) for word in ("interactions:", "session", "items:")
    ]
    assert places == sorted(places)
    assert any("spare" in line and "not used" in line for line in shown)


def test_the_table_fits_a_terminal_of_120_columns() -> None:
    long = Column("items", "a" * 200, "not used", "because " * 30, 10**7, 1.0, 0.001, "an example " * 30)
    assert max(map(len, lines(long))) <= 120
