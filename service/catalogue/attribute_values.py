"""Checks that the value of an attribute has the attribute's type. polars alone would convert many values silently."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl


def fitted(value: object, kind: pl.DataType) -> Any:
    """Checks that a JSON value has the type of an attribute, and returns the value.

    For an integer attribute, a float without a fraction, such as 1995.0, is returned as an int. None is always valid.

    Args:
        value: The value: None, bool, int, float, str, list or dict.
        kind: The polars type of the attribute.

    Raises:
        TypeError: If the value, or a value inside it, has another type.
    """
    if value is None:
        return None
    if isinstance(kind, pl.List | pl.Array) and isinstance(value, list | tuple):
        inner = kind.inner
        return [fitted(one, inner) for one in value]  # type: ignore[arg-type]
    if isinstance(kind, pl.Struct) and isinstance(value, Mapping):
        fields = {field.name: field.dtype for field in kind.fields}
        if value.keys() <= fields.keys():
            return {name: fitted(value.get(name), inner) for name, inner in fields.items()}  # type: ignore[arg-type]
    elif kind.is_integer() and isinstance(value, float) and value.is_integer():
        return int(value)
    elif type(value) in _python_types(kind):
        return value
    raise TypeError


def described(kind: pl.DataType) -> str:
    """Describes the values that a polars type holds, for an error message, such as `a list of values, each a text`."""
    if isinstance(kind, pl.Array):
        return f"a list of {kind.size} values, each {described(kind.inner)}"  # type: ignore[arg-type]
    if isinstance(kind, pl.List):
        return f"a list of values, each {described(kind.inner)}"  # type: ignore[arg-type]
    if isinstance(kind, pl.Struct):
        return f"an object with the fields {[field.name for field in kind.fields]}"
    if kind.is_integer():
        limits = np.iinfo("int64" if "128" in str(kind) else str(kind).lower())
        return f"a whole number from {limits.min} to {limits.max}"
    words = {bool: "true or false", str: "a text", float: "a number"}
    known = [words[one] for one in words if one in _python_types(kind)]
    return known[0] if known else f"null, because an attribute of type {kind} cannot be written"


def _python_types(kind: pl.DataType) -> tuple[type, ...]:
    """The types of Python whose values an attribute holds; none for a list or an object."""
    if kind == pl.Boolean:
        return (bool,)
    if kind.is_integer():
        return (int,)
    if kind.is_float():
        return (float, int)
    return (str,) if kind == pl.String or isinstance(kind, pl.Categorical | pl.Enum) else ()
