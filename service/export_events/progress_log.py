"""Logs how far a long export is."""

import logging
from time import monotonic

TOLD_EVERY_S = 20.0
logger = logging.getLogger("rqrec")


class ProgressLog:
    """Logs the progress of some work once in TOLD_EVERY_S seconds; work that ends sooner logs nothing."""

    def __init__(self) -> None:
        self._told_at = monotonic()

    def tell(self, text: str, *values: object) -> None:
        """Logs a line if none was logged in the last TOLD_EVERY_S seconds.

        Args:
            text: The line, with a place such as %d for each value.
            values: The values.
        """
        if monotonic() - self._told_at >= TOLD_EVERY_S:
            self._told_at = monotonic()
            logger.info(text, *values)
