"""Runs the service: `python -m service`. Settings come from RQREC_ environment variables."""

import contextlib
import sys
from pathlib import Path

from pydantic import ValidationError

from models.bundle import BundleError, read_bundle
from service.app import create_app
from service.logs import set_up_logs
from service.server import serve
from service.settings import Settings

SWITCH_INTERVAL_S, TIMER_SLACK_NS = 5e-6, 1000


def main() -> None:
    """Serves until a signal; exits 2 with a message where a setting or the bundle cannot be used."""
    hand_over_quickly()
    try:
        settings = Settings()
        set_up_logs(settings)
        read_bundle(settings.bundle)
    except (ValidationError, BundleError) as error:
        print(f"rqrec: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"serving on http://{settings.host}:{settings.port} - try http://{settings.host}:{settings.port}/docs")
    serve(create_app(settings))


def hand_over_quickly() -> None:
    """Makes the thread that answers requests hand the interpreter over within microseconds.

    The search thread asks for it between two kernels, many times a batch: at the defaults, 5 ms and Linux's timer slack
    of 50 us beside which a shorter interval means nothing, it mostly waits. The threads started later inherit the slack.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    with contextlib.suppress(OSError):  # not Linux
        Path("/proc/self/timerslack_ns").write_text(str(TIMER_SLACK_NS), encoding="ascii")


if __name__ == "__main__":
    main()
