"""Reads nested columns of interactions, such as `productDetails[].product.id` of an event with several products."""

from collections.abc import Iterator, Mapping, Sequence

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
    roots = dict.fromkeys(path if path in schema else path.partition(".")[0] for path in names.values())
    for root in roots:
        if _is_list_of_objects(schema[root]):
            frame = frame.explode(root, empty_as_null=True, keep_nulls=True)
    return frame.select(_field(path, path in schema).alias(name) for name, path in names.items())


def explodes(schema: Mapping[str, pl.DataType], path: str) -> bool:
    """Returns whether a path is a field in a list of objects, so that `select_paths` makes several rows of one row.

    Args:
        schema: The type of each column of the table, by name.
        path: A path that `leaf_paths` returned, such as `product.id`.
    """
    return path not in schema and _is_list_of_objects(schema[path.partition(".")[0]])


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


def _field(path: str, is_column: bool) -> pl.Expr:
    if is_column:
        return pl.col(exactly(path))
    root, *fields = path.split(".")
    expression = pl.col(exactly(root))
    for field in fields:
        expression = expression.struct.field(field)
    return expression
