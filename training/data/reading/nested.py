"""Reads nested columns of interactions, such as `productDetails[].product.id` of an event with several products."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import polars as pl

MOST_ORDERED = 32  # fields of a JSON object that polars returns in the order of the file


def in_fixed_order(names: Sequence[str]) -> list[str]:
    """Returns the names of columns or fields in an order that is the same in every process.

    Polars returns the fields of a JSON object in a random order if there are more than 32. Such names are sorted.
    """
    return sorted(names) if len(names) > MOST_ORDERED else list(names)


def leaf_paths(schema: Mapping[str, pl.DataType]) -> list[str]:
    """Returns the paths of all values in a table. The path of a column is its name.

    A column of objects has one path for each field instead, such as `product.id` for the field `id` of the column
    `product`. The paths are the same if each row holds a list of such objects.

    Args:
        schema: The type of each column of the table, by name.
    """
    return [path for name, dtype in schema.items() for path in _paths(name, dtype)]


def select_paths(frame: pl.LazyFrame, names: Mapping[str, str]) -> pl.LazyFrame:
    """Selects columns, and fields of objects, by their paths (see `leaf_paths`).

    If a field is in a list of objects, each row becomes one row for each object of its list.

    Args:
        frame: The lazy table.
        names: For each column of the result, its name and its path in the table, such as {"item_id": "product.id"}.
    """
    schema = frame.collect_schema()
    places = {name: _place(schema, path) for name, path in names.items()}
    for root in dict.fromkeys(place.root for place in places.values()):
        if _is_list_of_objects(schema[root]):
            frame = frame.explode(exactly(root), empty_as_null=True, keep_nulls=True)
    return frame.select(_value(place).alias(name) for name, place in places.items())


def root_of(schema: Mapping[str, pl.DataType], path: str) -> str:
    """Returns the name of the column in which a path begins, such as `product` of `product.id`.

    Args:
        schema: The type of each column of the table, by name.
        path: A path that `leaf_paths` returned.
    """
    return _place(schema, path).root


def explodes(schema: Mapping[str, pl.DataType], path: str) -> bool:
    """Returns whether a path is a field in a list of objects, so that `select_paths` makes several rows of one row.

    Args:
        schema: The type of each column of the table, by name.
        path: A path that `leaf_paths` returned, such as `product.id`.
    """
    return _is_list_of_objects(schema[root_of(schema, path)])


def exactly(name: str) -> str:
    """Returns an argument for `polars.col` that selects exactly the column of this name.

    Polars reads `*` and `^…$` as patterns, so such names are escaped.
    """
    if name != "*" and not (name.startswith("^") and name.endswith("$")):
        return name
    escaped = "".join(f"\\{sign}" if sign in r"\.^$*+?{}[]|()" else sign for sign in name)
    return f"^{escaped}$"


def _is_list_of_objects(dtype: pl.DataType) -> bool:
    return isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.Struct)


def _paths(name: str, dtype: pl.DataType, *, may_be_list: bool = True) -> Iterator[str]:
    inner = dtype.inner if may_be_list and isinstance(dtype, pl.List) else dtype
    if not isinstance(inner, pl.Struct):
        yield name
        return
    types = {field.name: field.dtype for field in inner.fields}
    for field in in_fixed_order(list(types)):
        field_type = types[field]
        assert isinstance(field_type, pl.DataType)
        yield from _paths(f"{name}.{field}", field_type, may_be_list=False)


class _Place(NamedTuple):
    """Where the values of a path are: the column, and on the way of objects, all fields of each and the one to take."""

    root: str
    fields: tuple[tuple[list[str], str], ...]


def _place(schema: Mapping[str, pl.DataType], path: str) -> _Place:
    for root, rest in _divisions(path):
        if root in schema:
            dtype = schema[root]
            inner = dtype.inner if isinstance(dtype, pl.List) else dtype
            fields = _way(inner, rest) if rest is not None else ()
            if fields is not None:
                return _Place(root, fields)
    raise KeyError(path)


def _way(dtype: object, path: str) -> tuple[tuple[list[str], str], ...] | None:
    """Returns the fields on the way of a path through objects; None if there is no such path."""
    types = {field.name: field.dtype for field in dtype.fields} if isinstance(dtype, pl.Struct) else {}
    for name, rest in _divisions(path):
        if name in types:
            below = _way(types[name], rest) if rest is not None else ()
            if below is not None:
                return ((list(types), name), *below)
    return None


def _divisions(path: str) -> Iterator[tuple[str, str | None]]:
    """Divides a path at each of its dots, because a name may hold dots. The first division is the whole path."""
    yield path, None
    for at, sign in reversed(list(enumerate(path))):
        if sign == ".":
            yield path[:at], path[at + 1 :]


def _value(place: _Place) -> pl.Expr:
    expression = pl.col(exactly(place.root))
    for names, name in place.fields:
        if exactly(name) == name:
            expression = expression.struct.field(name)
        else:  # polars would read the name as a pattern
            numbers = [str(number) for number in range(len(names))]
            expression = expression.struct.rename_fields(numbers).struct.field(numbers[names.index(name)])
    return expression
