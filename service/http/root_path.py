"""The root path: a prefix of all paths, such as `/rec` if a proxy serves the service at https://shop.example/rec."""

from starlette.types import Scope

ROOT_PATH = "rqrec.root_path"  # the key of the prefix in a request's scope


def remove_root_path(scope: Scope, root_path: str) -> None:
    """Removes the root path from the path of a request, if the path begins with it.

    Some proxies remove the root path before they forward a request, and others do not; the service works behind both.
    The root path is not stored under the usual key `root_path` of the ASGI scope, because Starlette would then expect
    `path` to begin with it.

    Args:
        scope: ASGI scope of the request; its `path` is changed.
        root_path: The prefix of all paths, such as `/rec`, without a slash at its end; empty if there is none.
    """
    if root_path:
        scope[ROOT_PATH] = root_path
        path: str = scope["path"]
        if path == root_path or path.startswith(f"{root_path}/"):
            scope["path"] = path[len(root_path) :] or "/"


def client_path(scope: Scope) -> str:
    """Returns the path of a request as the client sent it, with the root path."""
    return f"{scope.get(ROOT_PATH, '')}{scope['path']}"
