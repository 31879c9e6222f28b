"""Runs the service: `rqrec serve`. Settings come from environment variables whose names begin with RQREC_."""

import logging
import os
import sys

from pydantic import ValidationError
from threadpoolctl import threadpool_limits

from rqrec.models.bundle.bundle import read_bundle
from rqrec.models.bundle.error import BundleError
from rqrec.models.bundle.manifest import read_manifest
from rqrec.models.bundle.store import bundle_folder
from rqrec.service.app import create_app
from rqrec.service.default_bundle import describe_choice
from rqrec.service.logs import complain, set_up_logs
from rqrec.service.misspelt_settings import misspelt
from rqrec.service.server.draining import serve
from rqrec.service.serving.device import NoDevice, check_device
from rqrec.service.settings import LogFormat, Settings, faults_of

SWITCH_INTERVAL_S = 100e-6
logger = logging.getLogger("rqrec")


def main() -> None:
    """Runs the HTTP service until the process gets SIGTERM or SIGINT.

    If a setting or the bundle cannot be used, prints the reason to standard error and exits with status 2.
    """
    # The search thread takes the GIL several times a batch, and would wait 5 ms for it each time by Python's default.
    # A value far below this one makes threads take the GIL from each other without progress: below 10 us, a service
    # with two search workers stood still.
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    # NumPy's matrix products would use all cores. Their threads wait in a loop that takes the cores from the event loop
    # and the searches: under overload this cost a fifth of the answers.
    threadpool_limits(1, user_api="blas")
    # Also a setting that cannot be used is told in the format that is asked for.
    log_format = LogFormat.JSON if os.environ.get("RQREC_LOG_FORMAT") == LogFormat.JSON else LogFormat.TEXT
    set_up_logs(log_format)
    try:
        settings = Settings()
        set_up_logs(settings.log_format)
        for line in misspelt(os.environ):
            logger.warning("%s", line)
        check_device(settings.backend, settings.device)
        if "bundle" not in settings.model_fields_set:
            logger.info("%s", describe_choice(settings.bundle))
        _check_bundle(settings)
    except ValidationError as error:
        for fault in faults_of(error):
            complain(fault, log_format)
        sys.exit(2)
    except (NoDevice, BundleError) as error:
        complain(str(error), settings.log_format)
        sys.exit(2)
    if settings.admin_token is not None and settings.redis_url is None:
        logger.warning("RQREC_ADMIN_TOKEN is set and RQREC_REDIS_URL is not: items cannot be written or deleted")
    logger.info("loading the model of %s", settings.bundle)
    serve(create_app(settings), settings)


def _check_bundle(settings: Settings) -> None:
    """Checks the bundle of the link `current`, which is served if Redis names no other.

    Raises:
        BundleError: If it cannot be used, and there is no Redis.
    """
    try:
        if not read_manifest(bundle_folder(settings.bundle)).is_mapped:  # the bundle of a large catalogue is read once
            read_bundle(settings.bundle)
    except BundleError as error:
        if settings.redis_url is None:
            raise
        logger.warning("%s. Only a model that has a role in Redis can be served", error)


if __name__ == "__main__":
    main()
