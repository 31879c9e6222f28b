"""Opens the models of this replica by their versions, and stops them."""

import asyncio
import gc
import logging
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path

from rqrec.models.bundle.bundle import Bundle, read_version
from rqrec.models.bundle.error import BundleError
from rqrec.service.errors import UnusableModel
from rqrec.service.serving.served_model import ServedModel
from rqrec.service.telemetry import Metrics

logger = logging.getLogger("rqrec")


class OpenModels:
    """Opens models by their versions, holds the open models, and stops them.

    Args:
        bundles: Folder of a bundle, or folder of bundles whose link `current` names the bundle to serve.
        open_model: Returns a context manager that loads a bundle, yields the model, and stops the model at the end.
        metrics: Counts loaded models.
    """

    def __init__(
        self, bundles: Path, open_model: Callable[[Bundle], AbstractAsyncContextManager[ServedModel]], metrics: Metrics
    ) -> None:
        self._bundles = bundles
        self._open_model = open_model
        self._metrics = metrics
        self._stacks: dict[ServedModel, AsyncExitStack] = {}

    @property
    def models(self) -> list[ServedModel]:
        """All models that this replica has loaded and not stopped yet."""
        return list(self._stacks)

    async def open(self, version: str, *, defer_mapped: bool = False) -> ServedModel:
        """Loads the bundle (the published files) of a model version, and returns the model.

        Args:
            version: Version of the model.
            defer_mapped: Whether the model checks the files that are mapped into memory while it serves.

        Raises:
            UnusableModel: If the bundle cannot be loaded.
        """
        async with AsyncExitStack() as stack:
            try:
                bundle = await asyncio.to_thread(read_version, self._bundles, version, defer_mapped=defer_mapped)
                model = await stack.enter_async_context(self._open_model(bundle))
            except Exception as error:
                self._metrics.model_loads.labels("failed").inc()
                if isinstance(error, BundleError):
                    raise UnusableModel(str(error)) from error
                logger.exception("model %s cannot be loaded", version)
                raise UnusableModel(f"model {version} cannot be loaded: {type(error).__name__}: {error}") from error
            self._stacks[model] = stack.pop_all()
        if defer_mapped:
            model.check_mapped_files()
        self._metrics.model_loads.labels("loaded").inc()
        return model

    async def retire(self, models: Iterable[ServedModel]) -> None:
        """Stops models. A request that already uses one of these models still gets an answer."""
        for model in models:
            await self._stacks.pop(model).aclose()


def exclude_from_collection() -> None:
    """Excludes all present objects from Python's garbage collection. Called after models were loaded or stopped.

    A full collection would visit all objects of the loaded models, and delay every request by 60 ms.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
