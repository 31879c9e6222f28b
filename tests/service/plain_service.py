"""The service under plain uvicorn, without `service.server`; with the argument `slow`, its search is slow."""

import sys

import uvicorn

from rqrec.service.app import create_app
from rqrec.service.search.batch_search import search
from rqrec.service.settings import Settings
from tests.service.slow_service import slow_search

if __name__ == "__main__":
    settings = Settings()
    app = create_app(settings, search=slow_search if "slow" in sys.argv else search)
    uvicorn.run(app, host=settings.host, port=settings.port, log_config=None)
