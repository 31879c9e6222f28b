"""The service with a search that takes SEARCH_S seconds: `python -m tests.service.slow_service`."""

import os
import time
from collections.abc import Sequence

from rqrec.service.app import create_app
from rqrec.service.search.batch_search import Key, Result, Work, search
from rqrec.service.server.draining import serve
from rqrec.service.settings import Settings

SEARCH_S = float(os.environ.get("SEARCH_S", "0.4"))


def slow_search(key: Key, batch: Sequence[Work]) -> Sequence[Result]:
    """Searches as the service does, SEARCH_S seconds later."""
    time.sleep(SEARCH_S)
    return search(key, batch)


if __name__ == "__main__":
    settings = Settings()
    serve(create_app(settings, search=slow_search), settings)
