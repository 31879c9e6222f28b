"""The device and the precision of training."""

from contextlib import AbstractContextManager, nullcontext

import torch


def training_device() -> torch.device:
    """Returns this process's CUDA device if there is one, else the CPU."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def autocast(device: torch.device, *, enabled: bool) -> AbstractContextManager[object]:
    """Returns a context that computes in bfloat16 if this is enabled and the processor supports it.

    Args:
        device: The device that computes.
        enabled: Whether bfloat16 is wanted.
    """
    if device.type == "cuda":
        supported = torch.cuda.is_bf16_supported()
    else:
        supported = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return torch.autocast(device.type, dtype=torch.bfloat16) if enabled and supported else nullcontext()
