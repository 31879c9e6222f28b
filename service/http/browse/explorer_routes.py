"""The explorer: a page at `/` that shows what the model recommends, and why, served without the internet."""

import hashlib
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import PurePosixPath
from typing import NamedTuple

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from rqrec.service.http.root_path import ROOT_PATH

PAGE, ASSETS = "/", "/explorer/"
HEADERS = {
    # The page has no script or style of its own, and may load and call nothing but this service.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    # A browser asks each time whether its copy is still valid: another replica may have another version of the page.
    "cache-control": "no-cache",
}
MEDIA_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


class StaticFile(NamedTuple):
    """A file of the explorer.

    Attributes:
        content: Its bytes.
        media_type: Its media type, such as `text/css`.
        etag: A quoted digest of the content, for conditional requests.
    """

    content: bytes
    media_type: str
    etag: str


def add_explorer(app: FastAPI) -> None:
    """Adds the explorer to an app: the page at `/`, and its files below `/explorer/`.

    The files are read once, here. They are about 150 kB in all.

    Args:
        app: The app.
    """
    static_files = read_static_files(files("rqrec.service") / "explorer")
    index = static_files.pop("index.html")

    async def get_page(request: Request) -> Response:
        raw_path: bytes = request.scope.get("raw_path") or b""
        root_path: str = request.scope.get(ROOT_PATH, "")
        if root_path and raw_path.partition(b"?")[0] == root_path.encode():
            # The page's addresses are relative, so its own address must end with a slash.
            return Response(status_code=307, headers={"location": f"{root_path}/"})
        return answer_static(request, index)

    async def get_file(request: Request, name: str) -> Response:
        if (file := static_files.get(name)) is None:
            raise HTTPException(404, "Not Found")
        return answer_static(request, file)

    app.add_api_route(PAGE, get_page, include_in_schema=False)
    app.add_api_route(ASSETS + "{name:path}", get_file, include_in_schema=False)


def read_static_files(folder: Traversable) -> dict[str, StaticFile]:
    """Reads all files of a folder and of its sub-folders.

    Args:
        folder: The folder. The name of every file in it must end with one of MEDIA_TYPES.

    Returns:
        The files by their path within the folder, such as `views/map.js`.
    """
    found = dict[str, StaticFile]()
    for entry in folder.iterdir():
        if entry.is_dir():
            found |= {f"{entry.name}/{name}": file for name, file in read_static_files(entry).items()}
        else:
            content = entry.read_bytes()
            digest = hashlib.blake2b(content, digest_size=12).hexdigest()
            found[entry.name] = StaticFile(content, MEDIA_TYPES[PurePosixPath(entry.name).suffix], f'"{digest}"')
    return found


def answer_static(request: Request, file: StaticFile) -> Response:
    """Returns the answer to a request for a file: the file, or 304 if the client has it already.

    Args:
        request: The request, whose header `if-none-match` may have the tags of the client's copies.
        file: The file.
    """
    headers = {**HEADERS, "etag": file.etag}
    held = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if file.etag in held:
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)
