"""The service with simple stand-ins for the routes and fields that the explorer uses and this version lacks.

A stand-in answers only where the service's own description has no such route or field. Run as a program, with the
settings of the service.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs, unquote

import numpy as np
import uvicorn
from starlette.types import Message, Receive, Scope, Send

from rqrec.service.app import create_app
from rqrec.service.settings import Settings

Json = dict[str, Any]
FIELDS = ("explain", "diversity", "caps")


class StandIns:
    """Answers of the routes that are missing, made from the catalogue of the active model."""

    def __init__(self, runtime: Any) -> None:
        table = runtime.deployment.active.snapshot.table
        places = np.arange(len(table))
        self.payloads = {item.item_id: item.attributes for item in table.items(places)}
        self.codes = dict(zip(self.payloads, table.codes_of(places).tolist(), strict=True))

    def briefly(self, ids: Iterable[str]) -> list[Json]:
        return [
            {
                "item_id": key,
                "score": 1,
                "match": "title",
                "semantic_id": self.codes[key],
                "payload": self.payloads[key],
            }
            for key in ids
        ]

    def meaning(self, ids: list[str]) -> Json:
        values = Counter(genre for key in ids for genre in self.payloads[key]["genres"])
        shares = [{"name": "genres", "value": value, "share": n / len(ids)} for value, n in values.most_common(3)]
        return {"attributes": shares, "words": ["film"]}

    def node(self, prefix: list[int]) -> Json:
        ids = [key for key, codes in self.codes.items() if codes[: len(prefix)] == prefix]
        children = defaultdict[int, list[str]](list)
        for key in ids if len(prefix) < len(self.codes[ids[0]]) else []:
            children[self.codes[key][len(prefix)]].append(key)
        below = [{"code": code, "num_items": len(of), "meaning": self.meaning(of)} for code, of in children.items()]
        return {"prefix": prefix, "num_items": len(ids), "meaning": self.meaning(ids), "children": below}

    def search(self, body: Json) -> Json:
        found = [key for key, payload in self.payloads.items() if body["query"].lower() in payload["title"].lower()]
        return {"items": self.briefly(found[: body["k"]]), "took_ms": 1}

    def attributes(self) -> Json:
        values = Counter(genre for payload in self.payloads.values() for genre in payload["genres"])
        years = [payload["year"] for payload in self.payloads.values()]
        genres = {"name": "genres", "kind": "label", "values": [{"value": v, "count": n} for v, n in values.items()]}
        return {"attributes": [genres, {"name": "year", "kind": "number", "min": min(years), "max": max(years)}]}

    def map(self, query: dict[str, list[str]]) -> Json:
        ids, attribute = list(self.payloads), query.get("attribute", [None])[0]
        return {
            "num_items": len(ids),
            "item_ids": ids,
            "xs": [float(codes[0]) for codes in self.codes.values()],
            "ys": [float(place % 7) for place in range(len(ids))],
            "codes": [codes[0] for codes in self.codes.values()],
            "values": [payload[attribute] for payload in self.payloads.values()] if attribute else None,
        }

    def explain(self, body: Json, reply: Json) -> Json:
        for item in reply["items"]:
            history = [{"item_id": key, "contribution": 0.5, "shared": {}} for key in body["history"]]
            prefixes = [item["semantic_id"][: level + 1] for level in range(len(item["semantic_id"]))]
            levels = [
                {"code": prefix[-1], "log_prob": -0.5, "meaning": self.node(prefix)["meaning"]} for prefix in prefixes
            ]
            item["explanation"] = {"history": history, "levels": levels}
        depth = range(1, len(reply["items"][0]["semantic_id"]) + 1)
        return {**reply, "beams": [[item["semantic_id"][:level] for item in reply["items"]] for level in depth]}


def main() -> None:
    settings = Settings()
    app = create_app(settings)
    document: Json = json.loads(json.dumps(app.openapi()))
    taken = document["components"]["schemas"]["RecommendRequest"]["properties"]
    missing = [name for name in FIELDS if name not in taken]
    made: list[StandIns] = []
    routes: dict[str, tuple[str, Callable[[re.Match[str], Json, dict[str, list[str]]], Json]]] = {
        "/search": ("/search", lambda _path, body, _query: made[0].search(body)),
        "/attributes": ("/attributes", lambda *_: made[0].attributes()),
        "/map": ("/map", lambda _path, _body, query: made[0].map(query)),
        "/semantic-ids": ("/semantic-ids", lambda *_: made[0].node([])),
        "/semantic-ids/{prefix}": (
            "/semantic-ids/([0-9-]+)",
            lambda path, *_: made[0].node([int(code) for code in path[1].split("-")]),
        ),
        "/items/{item_id}/similar": (
            "/items/(.+)/similar",
            lambda path, *_: {"items": made[0].briefly([key for key in made[0].codes if key != unquote(path[1])][:6])},
        ),
    }
    standing_in = {path: route for path, route in routes.items() if path not in document["paths"]}
    document["paths"] |= {path: {} for path in standing_in}
    taken |= {name: {} for name in missing}

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        made[:] = made or [StandIns(app.state.runtime)]
        path, query = scope["path"].removeprefix(settings.root_path), parse_qs(scope["query_string"].decode())
        if path == "/openapi.json":
            await send_json(send, document)
            return
        for pattern, answer in standing_in.values():
            if matched := re.fullmatch(pattern, path):
                text = await read(receive) if scope["method"] == "POST" else b""
                await send_json(send, answer(matched, json.loads(text or b"{}"), query))
                return
        if path == "/recommend" and missing:
            await recommend(scope, receive, send)
            return
        await app(scope, receive, send)

    async def recommend(scope: Scope, receive: Receive, send: Send) -> None:
        body, sent = json.loads(await read(receive)), list[Message]()
        wanted = {name: body.pop(name) for name in missing if name in body}
        text = json.dumps(body).encode()
        headers = [(name, value) for name, value in scope["headers"] if name != b"content-length"]
        scope = {**scope, "headers": [*headers, (b"content-length", str(len(text)).encode())]}
        parts = iter([{"type": "http.request", "body": text}])

        async def receive_text() -> Message:
            return next(parts, None) or await receive()

        async def keep(message: Message) -> None:
            sent.append(message)

        await app(scope, receive_text, keep)
        if sent[0]["status"] == 200 and wanted.get("explain"):
            await send_json(send, made[0].explain(body, json.loads(b"".join(part["body"] for part in sent[1:]))))
            return
        for message in sent:
            await send(message)

    uvicorn.run(serve, host=settings.host, port=settings.port, log_config=None)


async def read(receive: Receive) -> bytes:
    parts, message = list[bytes](), await receive()
    while True:
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)
        message = await receive()


async def send_json(send: Send, reply: Json) -> None:
    text = json.dumps(reply).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text})


if __name__ == "__main__":
    main()
