"""A prefix of all paths, for a service behind a proxy that serves other things too, such as https://shop.example/rec."""

from starlette.types import Scope

ROOT_PATH = "rqrec.root_path"  # the key of the prefix in a request's scope


def remove_root_path(scope: Scope, root_path: str) -> None:
    """Removes the prefix from a request's path, if it is there: some proxies remove it and others do not.

    ASGI's `root_path` stays empty, because Starlette would take it for a part of the path without the prefix.

    Args:
        scope: ASGI scope of the request, which is changed.
        root_path: The prefix, without a slash at its end; empty if there is none.
    """
    if root_path:
        scope[ROOT_PATH] = root_path
        path: str = scope["path"]
        if path == root_path or path.startswith(f"{root_path}/"):
            scope["path"] = path[len(root_path) :] or "/"


def client_path(scope: Scope) -> str:
    """Returns the path of a request as its client wrote it, with the prefix."""
    return f"{scope.get(ROOT_PATH, '')}{scope['path']}"
