"""Request bodies for fuzzing: valid ones, malformed variants of them, and bodies of the largest size."""

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

DEPTH = 5  # levels of nested values that are replaced
ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 2**63, -(2**64), 10**300, 1e308, float("nan"), float("inf"), -0.0, 0.1),
    *("", "\0", "a" * 10_000, "ü€😀", "\ud800", "NaN", "1", "../../etc/passwd", "'; DROP TABLE items; --", "{{7*7}}"),
    *([], {}, [None], [[]], {"": ""}, {"$ref": "#"}, list(range(2000))),
)
ODD_TEXTS = (*map(json.dumps, ODD), "[" * 400 + "]" * 400)


def valid_requests(item_ids: list[str], payload: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Returns method, path and body of requests that the service accepts or refuses by its own rules.

    Args:
        item_ids: At least four known item_ids.
        payload: Attributes of an item.
    """
    name = next(iter(payload), "title")
    return [
        ("POST", "/recommend", {"history": item_ids[:5], "k": 5}),
        ("POST", "/recommend", {"history": item_ids[:2], "k": 3, "exclude": item_ids[2:4], "exclude_history": False}),
        (
            "POST",
            "/recommend",
            {"history": [], "filter": {name: {"any_of": ["x", 1, None]}, "item_id": {"none_of": ["1"]}}},
        ),
        ("POST", "/recommend", {"history": item_ids[:1], "filter": {name: {"gte": 1, "lte": 2}}, "beam_width": 20}),
        ("POST", "/recommend", {"history": item_ids[:1], "new_item_share": 0.5, "routing_key": "u"}),
        ("POST", "/recommend", {"history": item_ids[:1], "timeout_ms": 1000, "model_version": "v"}),
        ("POST", "/recommend", {"history": item_ids[:2], "explain": True, **_list_control(item_ids[2], name)}),
        (
            "POST",
            "/recommend",
            {"user_id": "u", "exclude_types": ["view"], "exclude_shown_s": 60, "after": "r", "surface": "home"},
        ),
        (
            "POST",
            "/events",
            {"events": [{"user_id": "u", "item_id": item_ids[0], "type": "view", "event_id": "e"} for _ in range(3)]},
        ),
        (
            "POST",
            "/events",
            {
                "events": [
                    {"user_id": "u", "item_id": "x", "type": "purchase", "at": "2026-01-31T12:00:00Z", "value": 9}
                ]
            },
        ),
        ("POST", "/search", {"query": "a fil", "k": 3, "filter": {name: {"none_of": ["x"]}}}),
        ("PUT", "/items/fuzz", {"attributes": payload}),
        ("PUT", "/items/fuzz", {"attributes": {}, "text_vector": [0.5, -1e3, 0.0]}),
        ("POST", "/models/none/activate", {"part": "canary", "percent": 5}),
    ]


def _list_control(item_id: str, attribute: str) -> dict[str, Any]:
    return {
        "caps": {attribute: 1},
        "boosts": [{"filter": {attribute: {"any_of": ["x"]}}, "factor": 1.5}],
        "pins": [{"item_id": item_id, "rank": 2}],
        "diversity": 0.5,
    }


def large(rng: random.Random, *, max_bytes: int = 1 << 20) -> bytes:
    """Returns a body of about the largest size, full of mistakes of one kind.

    Args:
        rng: Source of random choices.
        max_bytes: Largest size in bytes.
    """
    one = rng.choice(("0", '""', "[]", "{}", "null", "true", "1e400", '"x"', "[[]]", '"\\ud800"', "9" * 400))
    count = rng.choice((1000, 10_000, max_bytes)) // (len(one) + 1)
    values = ",".join([one] * max(count, 1))
    names = ",".join(f'"a{number}":{one}' for number in range(max(max_bytes // (len(one) + 12), 1)))
    conditions = ",".join(f'"a{number}":{{"any_of":[{",".join([one] * 9999)}]}}' for number in range(20))
    body = rng.choice(
        (
            f'{{"history":[{values}]}}',
            f'{{"history":[],"exclude":[{values}]}}',
            f'{{"history":[],{names}}}',
            f'{{"history":[],"filter":{{{names}}}}}',
            f'{{"history":[],"filter":{{{conditions}}}}}',
            f'{{"history":[],"filter":{{"item_id":{{"none_of":[{values}]}}}}}}',
            f'{{"history":[],"filter":{{"item_id":{{{names}}}}}}}',
            f'{{"attributes":{{{names}}}}}',
            f'{{"events":[{values}]}}',
            f'{{"events":[{{{names}}}]}}',
            f'{{"text_vector":[{values}]}}',
            "[" * max_bytes,
            '{"history":' * (max_bytes // 11),
            f'{{"{"k" * (max_bytes - 20)}":1}}',
        )
    )
    return body[:max_bytes].encode("utf-8", "surrogatepass")


def malformed(body: dict[str, Any], rng: random.Random) -> bytes:
    """Returns a random change of a valid body, as bytes.

    Args:
        body: A valid body.
        rng: Source of random choices.
    """
    if rng.random() < 0.5:
        changed = copy.deepcopy(body)
        for _ in range(rng.choice((1, 1, 2, 5))):
            _change(changed, rng)
        return json.dumps(changed, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    text = bytearray(json.dumps(body).encode())
    for _ in range(rng.choice((1, 1, 2, 8))):
        place = rng.randrange(len(text) + 1)
        kind = rng.randrange(5)
        if kind == 0 and place < len(text):
            text[place] = rng.randrange(256)
        elif kind == 1:
            del text[place : place + rng.randrange(1, 20)]
        elif kind == 2:
            text[place:place] = text[place : place + rng.randrange(1, 50)]
        elif kind == 3:
            text[place:place] = rng.randbytes(rng.randrange(1, 8))
        else:
            text[place:place] = rng.choice(
                (b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\u", b"\\ud800", b"1e999", b"-")
            )
    return bytes(text)


def _change(body: dict[str, Any], rng: random.Random) -> None:
    places = list(_places(body))
    if not places:
        return
    holder, key = rng.choice(places)
    kind = rng.randrange(4)
    if kind == 0 and isinstance(holder, dict):
        holder[rng.choice(("x", "", "__proto__", "k", "history"))] = json.loads(rng.choice(ODD_TEXTS))
    elif kind == 1:
        del holder[key]
    else:
        holder[key] = json.loads(rng.choice(ODD_TEXTS))


def _places(value: Any, depth: int = DEPTH) -> Iterator[tuple[Any, Any]]:
    pairs = list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ())
    for key, inner in pairs[:50]:
        yield value, key
        if depth > 1:
            yield from _places(inner, depth - 1)
