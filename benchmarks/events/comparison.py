"""Compares what the service and the exported files have with what the clients have sent."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import polars as pl

from benchmarks.events.ledger import Discrepancies, Ledger


def fault_of_source(reply: Mapping[str, Any]) -> str:
    """Returns what is wrong with what a list by user says of its stored history; empty if nothing is.

    Args:
        reply: A `RecommendReply` to a request with a user_id.
    """
    source = reply["history_source"]
    if source == "memory" and reply["fallback"] is None:
        return "a list from a remembered history does not say so"
    if source == "none" and reply["fallback"] is None:
        return "a list without the stored history does not say so"
    return "" if source in ("store", "memory", "none") else f"a list by user has the history source {source}"


async def compare_events(
    ledger: Ledger,
    folder: Path,
    ask: Callable[[str, str], Awaitable[httpx.Response]],
    *,
    bound: int,
    prefixes: tuple[str, ...] = ("",),
) -> Discrepancies:
    """Compares the exported files, the stream and the users' histories with the clients' account.

    Args:
        ledger: The clients' account.
        folder: The folder of the exported events.
        ask: Sends a request with the admin token, given its method and path, until it is answered.
        bound: Most entries of a history.
        prefixes: What the ids of the users begin with whose events are compared; others may be there or not.
    """
    exported = pl.read_parquet(folder / "interactions" / "day=*" / "part-*.parquet", hive_partitioning=False)
    stored: list[dict[str, Any]] = exported.rename({"event_type": "type"}).to_dicts()
    stored = [event for event in stored if event["user_id"].startswith(prefixes)]
    wrong = list[str]()
    for user_id in ledger.users():
        pages = await _pages_of(user_id, ask)
        if not pages[-1].is_success:
            wrong.append(f"GET /users/{user_id}: {pages[-1].status_code} {pages[-1].text}")
            continue
        stored += [{"user_id": user_id, **event} for page in pages for event in page.json()["events"]]
        wrong += ledger.faults_of_history(user_id, pages[0].json()["history"], bound)
    lost, twice, unsent = ledger.compare(stored)
    return Discrepancies(lost, twice, unsent + wrong)


async def _pages_of(user_id: str, ask: Callable[[str, str], Awaitable[httpx.Response]]) -> list[httpx.Response]:
    """Returns the pages of what is stored of a user; the last answer is an error if a page cannot be read."""
    pages = [await ask("GET", f"/users/{user_id}")]
    while pages[-1].is_success and (after := pages[-1].json()["next_after"]) is not None:
        pages.append(await ask("GET", f"/users/{user_id}?after={after}"))
    return pages
