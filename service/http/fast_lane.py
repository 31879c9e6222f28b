"""Middleware that answers POST /recommend and two constant replies without FastAPI, because this takes less time."""

import json
from collections.abc import Callable
from functools import cache
from typing import Any

from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from rqrec.service.contract.replies import Health
from rqrec.service.http.problems import problem_response
from rqrec.service.http.root_path import client_path
from rqrec.service.http.routes import HEALTH, JSON, RECOMMEND, answer_recommend, router
from rqrec.service.serving.runtime import Runtime

DOCUMENT = "/openapi.json"
ROUTES = {route.path: route for route in router.routes if isinstance(route, APIRoute)}
RECOMMEND_ROUTE, HEALTH_ROUTE, HEALTH_REPLY = ROUTES[RECOMMEND], ROUTES[HEALTH], Health().model_dump_json().encode()


class FastLane:
    """ASGI middleware that answers POST /recommend, GET /healthz and GET /openapi.json itself.

    It passes all other requests to the app. The app has these three routes too, but the middleware is faster. When
    requests are searched in batches, FastAPI would take about as much time for each request as its search. FastAPI
    would also serialise the OpenAPI document again for every request.

    Args:
        app: The ASGI app that this middleware wraps; it has all routes.
        runtime: The running service.
        document: Function that makes the OpenAPI document; called once.
    """

    def __init__(self, app: ASGIApp, runtime: Runtime, document: Callable[[], dict[str, Any]]) -> None:
        self.app = app
        self.runtime = runtime
        self._document = cache(lambda: json.dumps(document()).encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one HTTP request, or passes it to the app.

        Args:
            scope: ASGI scope.
            receive: ASGI's `receive`.
            send: ASGI's `send`.
        """
        asked = (scope["method"], scope["path"]) if scope["type"] == "http" else ()
        if asked == ("POST", RECOMMEND):
            scope["route"] = RECOMMEND_ROUTE
            try:
                reply = await answer_recommend(scope, receive, self.runtime)
            except Exception as error:
                await problem_response(error, client_path(scope))(scope, receive, send)
                return
        elif asked == ("GET", HEALTH):
            scope["route"], reply = HEALTH_ROUTE, HEALTH_REPLY
        elif asked == ("GET", DOCUMENT):
            reply = self._document()
        else:
            await self.app(scope, receive, send)
            return
        headers = [(b"content-type", JSON.encode()), (b"content-length", str(len(reply)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": reply})
