"""Finds environment variables that look like a setting and are none."""

from collections.abc import Iterable
from difflib import get_close_matches

from rqrec.service.settings import Settings

PREFIX = "RQREC_"
NEAR = 0.7  # share of equal letters from which a name is near to another one


def misspelt(names: Iterable[str]) -> list[str]:
    """Returns one line for each environment variable that looks like a setting and is none.

    Args:
        names: The names of all environment variables.
    """
    known = {name.upper() for name in Settings.model_fields}
    lines = []
    for name in sorted(names):
        wanted = name.upper().removeprefix(PREFIX)
        if name.upper().startswith(PREFIX) and wanted not in known:
            meant = _nearest(wanted, known)
            lines.append(f"{name} is no setting and is ignored" + (f"; did you mean {PREFIX}{meant}?" if meant else ""))
    return lines


def _nearest(wanted: str, known: Iterable[str]) -> str | None:
    """Returns the setting whose name, or its first words if no other setting has them, is near to a name."""
    settings_of: dict[str, list[str]] = {}
    for name in sorted(known):
        words = name.split("_")
        for count in range(1, len(words) + 1):
            settings_of.setdefault("_".join(words[:count]), []).append(name)
    clear = {begin: names[0] for begin, names in settings_of.items() if len(names) == 1 or begin in names}
    near = get_close_matches(wanted, clear, n=1, cutoff=NEAR)
    return (clear[near[0]] if near[0] not in known else near[0]) if near else None
