"""Configuration by gin files: every stage's settings are a frozen dataclass whose fields a gin file may bind."""

import tokenize
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar, cast

import gin

DEFAULT_CONFIG = Path("configs/decoder.gin")
SettingsT = TypeVar("SettingsT", bound=type)

# gin carries no types: this is the one place where that shows.
configurable = cast("Callable[[SettingsT], SettingsT]", gin.configurable)


class ConfigError(ValueError):
    """Raised when a gin file or binding names something that does not exist or cannot be parsed."""


def load_config(files: Iterable[Path], bindings: Iterable[str] = ()) -> None:
    """Forgets the present bindings and reads gin files, then single bindings such as ``DecoderSettings.width = 64``.

    Raises:
        ConfigError: If a file is missing or malformed, or binds an unknown parameter.
    """
    gin.clear_config()
    names = [str(file) for file in files]
    try:
        gin.parse_config_files_and_bindings(names, list(bindings))
    except (OSError, ValueError, SyntaxError, tokenize.TokenError) as error:
        # gin appends where it was to the message; the first line says what is wrong.
        raise ConfigError(f"cannot use configuration {', '.join(names)}: {str(error).strip()}") from error


def resolved_config() -> str:
    """All bindings in force, as the text of a gin file."""
    return str(gin.config_str())
