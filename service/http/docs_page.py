"""The documentation pages /docs and /redoc. Their scripts and styles come from a package, not from the internet."""

from importlib.resources import files

from fastapi import FastAPI
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

DOCS, REDOC, ASSETS = "/docs", "/redoc", "/docs/assets"
PAGES = (DOCS, REDOC)
# The pages hold a script and styles of their own, and may load nothing from other origins.
POLICY = (
    b"default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data:; worker-src blob:; frame-ancestors 'none'"
)


def add_docs_pages(app: FastAPI, *, root_path: str) -> None:
    """Adds the pages /docs and /redoc, which show the OpenAPI document, to an app.

    Their scripts and styles are served below /docs/assets, from the package fastapi-offline.

    Args:
        app: The app, made with `docs_url=None` and `redoc_url=None`.
        root_path: The prefix of all paths behind a proxy, such as `/rec`; empty if there is none.
    """
    document, assets = f"{root_path}{app.openapi_url}", f"{root_path}{ASSETS}"
    swagger = get_swagger_ui_html(
        openapi_url=document,
        title=app.title,
        swagger_js_url=f"{assets}/swagger-ui-bundle.js",
        swagger_css_url=f"{assets}/swagger-ui.css",
        swagger_favicon_url=f"{assets}/favicon.png",
    )
    redoc = get_redoc_html(
        openapi_url=document,
        title=app.title,
        redoc_js_url=f"{assets}/redoc.standalone.js",
        redoc_favicon_url=f"{assets}/favicon.png",
        with_google_fonts=False,
    )

    async def show_swagger() -> HTMLResponse:
        return swagger

    async def show_redoc() -> HTMLResponse:
        return redoc

    app.add_api_route(DOCS, show_swagger, include_in_schema=False)
    app.add_api_route(REDOC, show_redoc, include_in_schema=False)
    app.mount(ASSETS, StaticFiles(directory=str(files("fastapi_offline") / "static")))
