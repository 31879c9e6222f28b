"""Whether what the settings want to search with is there."""

import importlib.util

from rqrec.models.onnx_session import cuda_is_available
from rqrec.service.settings import Backend, Device, Settings


class NoDevice(Exception):
    """The runtime or the device that the settings name is not there; says what to do."""


def check_device(settings: Settings) -> None:
    """Checks the runtime and the device of the settings.

    Raises:
        NoDevice: If one is not there.
    """
    if settings.backend is Backend.TORCH and importlib.util.find_spec("torch") is None:
        raise NoDevice("RQREC_BACKEND=torch needs torch, which is not installed: install the gpu extra, or use onnx")
    if settings.device is Device.CUDA and not _has_cuda(settings.backend):
        raise NoDevice(
            f"RQREC_DEVICE=cuda needs a GPU that {settings.backend} can use, and there is none: install "
            "the gpu extra and the driver, or set RQREC_DEVICE=cpu"
        )


def _has_cuda(backend: Backend) -> bool:
    if backend is Backend.ONNX:
        return cuda_is_available()
    import torch  # noqa: PLC0415 - serving by ONNX Runtime must work where torch is not installed

    return torch.cuda.is_available()
