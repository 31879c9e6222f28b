"""Checks that the engine of the search (ONNX Runtime or PyTorch) and its device are available."""

import importlib.util

from rqrec.models.onnx_session import cuda_is_available
from rqrec.service.settings import Backend, Device


class NoDevice(Exception):
    """The engine or the device of the search is not available; the message says what to do."""


def check_device(backend: Backend, device: Device) -> None:
    """Checks that an engine is installed and can use a device.

    Args:
        backend: The engine of the search.
        device: The device of the search.

    Raises:
        NoDevice: If the engine or the device is not available.
    """
    if backend is Backend.TORCH and importlib.util.find_spec("torch") is None:
        raise NoDevice("RQREC_BACKEND=torch needs torch, which is not installed: install the gpu extra, or use onnx")
    if device is Device.CUDA and not _has_cuda(backend):
        raise NoDevice(
            f"RQREC_DEVICE=cuda needs a GPU that {backend} can use, and there is none: install "
            "the gpu extra and the driver, or set RQREC_DEVICE=cpu"
        )


def uses_cuda(backend: Backend, device: Device) -> bool:
    """Returns whether the search of an engine runs on a GPU.

    Args:
        backend: The engine of the search.
        device: The device of the search.
    """
    return device is Device.CUDA or (device is Device.AUTO and _has_cuda(backend))


def _has_cuda(backend: Backend) -> bool:
    if backend is Backend.ONNX:
        return cuda_is_available()
    import torch  # noqa: PLC0415 - serving with ONNX Runtime must work without torch

    return torch.cuda.is_available()
