"""Reads the settings of a run from gin files. Settings are read once and passed on as objects.

Settings are frozen dataclasses that check their values. A gin file sets their fields: `DecoderSettings.width = 64`.
"""

import re
import tokenize
from ast import literal_eval
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from difflib import get_close_matches
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TextIO, TypeVar, get_type_hints

import gin
from pydantic import Field, ValidationError

import rqrec
from rqrec.models.errors import UserError

PACKAGE = Path(rqrec.__file__).parent
PACKAGED_CONFIGS = PACKAGE / "configs"
DEFAULT_CONFIG = PACKAGED_CONFIGS / "decoder.gin"
UNFINISHED = ("'", '"', "(", "[", "{")  # a value that begins so and is none of Python is a mistake, and no text
SettingsT = TypeVar("SettingsT")
_including: list[Path] = []  # the folders of the gin files that are being read; the last one includes the next file

DropProbability = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class ConfigError(UserError):
    """Raised when a setting does not exist, cannot be parsed, or has an invalid value."""


def read_settings(kind: type[SettingsT], files: Iterable[Path], bindings: Iterable[str] = ()) -> SettingsT:
    """Reads settings from gin files and from single bindings such as ``DecoderSettings.width = 64``.

    Fields that are not set have their default.

    Args:
        kind: The class of the result, such as `RunSettings`: a dataclass in which every field is a settings dataclass.
        files: Gin files; a later file overrides an earlier one. If a file such as `decoder.gin` or
            `configs/decoder.gin` does not exist, the file of this name that comes with RQRec is read. `include` in a
            gin file finds a file in the same way, but first looks in the folder of that gin file.
        bindings: Single bindings, which override the files.

    Returns:
        An object of class `kind`.

    Raises:
        ConfigError: If a file is missing or malformed, or binds an unknown parameter or an invalid value.
    """
    sections = get_type_hints(kind)
    for section in sections.values():
        _register(section)
    names = [str(file) for file in files]
    _read_packaged_configs()
    gin.clear_config()
    try:
        gin.parse_config_files_and_bindings(names, None, finalize_config=False)
        for binding in bindings:
            _bind(binding, list(sections.values()))
        values = {section: gin.get_bindings(section.__name__) for section in sections.values()}
    except ConfigError:
        raise
    except RecursionError as error:
        raise ConfigError(f"cannot use configuration {', '.join(names)}: its files include each other") from error
    except (OSError, ValueError, SyntaxError, AttributeError, tokenize.TokenError) as error:
        hint = _hint_on_class(error, "", list(sections.values()))
        raise ConfigError(f"cannot use configuration {', '.join(names)}: {_in_one_line(error)}{hint}") from error
    finally:
        gin.clear_config()
    return kind(**{name: _checked(section, values[section]) for name, section in sections.items()})


def _bind(binding: str, sections: Sequence[type]) -> None:
    """Applies one binding of the command line. A value that is no value of Python is text, as in `X.y=lsa`."""
    name, _, value = (part.strip() for part in binding.partition("="))
    # gin takes a name without a dot for a macro, which nobody reads: two names without an operator are an error.
    # Before a slash it takes a name for a scope, and no setting is read from a scope.
    setting = name if "." in name and "/" not in name else f"{name} is no setting"
    try:
        gin.parse_config(f"{setting} = {_as_python(value)}")
    except (ValueError, SyntaxError, AttributeError, IndexError, tokenize.TokenError) as error:
        if hint := _hint_on_class(error, name.rpartition(".")[2], sections):
            raise ConfigError(f"cannot use --set {binding}: there is no such class of settings{hint}") from error
        reason = _in_one_line(error)
        raise ConfigError(
            f"cannot use --set {binding}: expected a setting and its value, such as DecoderSettings.epochs=3 or "
            f"FeatureSettings.text_encoder=lsa ({reason})"
        ) from error


def _hint_on_class(error: Exception, parameter: str, sections: Sequence[type]) -> str:
    """Returns the class, or its parameter, that was meant, and all classes; nothing if the error is another one."""
    unknown = re.search(r"No configurable matching '([^']*)'", str(error))
    if unknown is None:
        return ""
    classes = {section.__name__: section for section in sections}
    meant = _closest(unknown[1].rpartition(".")[2], classes)
    if meant and (close := _closest(parameter, get_type_hints(classes[meant]))):
        meant = f"{meant}.{close}"
    return f": {f'did you mean {meant}? The classes are' if meant else 'use one of'} {', '.join(sorted(classes))}"


def _closest(name: str, known: Iterable[str]) -> str:
    """Returns the known name that is most like a name, in upper or lower case; nothing if none is."""
    by_lower = {one.lower(): one for one in known}
    return next((by_lower[one] for one in get_close_matches(name.lower(), by_lower, n=1)), "")


def _in_one_line(error: Exception) -> str:
    """Returns gin's message in one line. A name without quotes has the message of Python's parser replaced."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" ^")]
    bare = re.search(r"Failed to parse token '([^']*)'(.*)", str(error))
    if bare:
        return f"{bare[1]!r} is no value of Python: put text in quotes, such as '{bare[1]}'{bare[2]}"
    return " ".join(lines)


def _as_python(value: str) -> str:
    """Returns a value of the command line as Python writes it."""
    if not value:
        return value
    try:
        literal_eval(value)
    except (ValueError, SyntaxError):
        return value if value[0] in UNFINISHED else repr(value)
    return value


def settings_as_gin(settings: Any) -> str:
    """Returns all settings as the text of a gin file, including those that have their default.

    Args:
        settings: The settings that `read_settings` returned.
    """
    lines = []
    for field in fields(settings):
        section = getattr(settings, field.name)
        for name, value in asdict(section).items():
            plain = value.value if isinstance(value, Enum) else value
            lines.append(f"{type(section).__name__}.{name} = {plain!r}")
    return "\n".join(lines) + "\n"


@cache
def _read_packaged_configs() -> None:
    """Replaces gin's file readers. One of gin's own readers imports the packages that a file's path names."""
    gin.config._FILE_READERS[:] = [(_open_config, lambda _name: True)]


@contextmanager
def _open_config(name: str) -> Iterator[TextIO]:
    """Opens a gin file: beside the file that includes it, of the working folder, or the packaged file of that name."""
    folders = (*_including[-1:], Path(), PACKAGED_CONFIGS, PACKAGE, PACKAGE.parent)
    for path in (folder / name for folder in folders):
        if path.is_file():
            _including.append(path.parent)
            try:
                with path.open(encoding="utf-8") as file:
                    yield file
            finally:
                _including.pop()
            return
    packaged = ", ".join(sorted(file.name for file in PACKAGED_CONFIGS.glob("*.gin")))
    raise FileNotFoundError(f"there is no file {name!r}: name a gin file, or a packaged one: {packaged}")


@cache
def _register(section: type) -> None:
    gin.external_configurable(section)


def _checked(section: type[SettingsT], values: Mapping[str, object]) -> SettingsT:
    names = set(get_type_hints(section))
    for name in sorted(values.keys() - names):
        close = _closest(name, names)
        remedy = f"did you mean {section.__name__}.{close}?" if close else f"use one of {', '.join(sorted(names))}"
        raise ConfigError(f"{section.__name__} doesn't have a parameter named {name!r}: {remedy}")
    try:
        return section(**values)
    except ValidationError as error:
        found = "; ".join(_complaint(section.__name__, one) for one in error.errors())
        raise ConfigError(f"cannot use configuration: {found}") from error


def _complaint(section: str, error: Mapping[str, Any]) -> str:
    place = ".".join([section, *map(str, error["loc"])])
    problem = str(error["msg"]).removeprefix("Value error, ").replace("Input should", "must")
    return f"{place}: {problem}" if not error["loc"] else f"{place}: {problem}, got {error['input']!r}"
