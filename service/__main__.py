"""Runs the service: `python -m service`. Settings come from RQREC_ environment variables."""

import logging
import sys

import uvicorn
from pydantic import ValidationError

from models.bundle import BundleError, read_bundle
from service.app import create_app
from service.settings import Settings


def main() -> None:
    """Serves until a signal; exits 2 with a message where a setting or the bundle cannot be used."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    try:
        settings = Settings()
        read_bundle(settings.bundle)
    except (ValidationError, BundleError) as error:
        print(f"rqrec: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"serving on http://{settings.host}:{settings.port} - try http://{settings.host}:{settings.port}/docs")
    uvicorn.run(create_app(settings), host=settings.host, port=settings.port, access_log=False)


if __name__ == "__main__":
    main()
