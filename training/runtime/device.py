"""Chooses the device (GPU or CPU) and the precision of training."""

from contextlib import AbstractContextManager, nullcontext

import torch

# As `torch.cpu.get_capabilities` names them, on x86 and on Arm. Without them torch emulates bfloat16, and a product
# takes four times as long as in float32.
BF16_INSTRUCTIONS = ("amx_bf16", "avx512_bf16", "bf16")


def training_device() -> torch.device:
    """Returns this process's CUDA device if there is one, else the CPU."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def autocast(device: torch.device, *, enabled: bool) -> AbstractContextManager[object]:
    """Returns a context manager for computing in bfloat16. It does nothing if bfloat16 is not enabled or not supported.

    Args:
        device: The device that computes.
        enabled: Whether to use bfloat16, if the device supports it.
    """
    if device.type == "cuda":
        supported = torch.cuda.is_bf16_supported()
    else:
        capabilities = torch.cpu.get_capabilities()
        supported = any(capabilities.get(name, False) for name in BF16_INSTRUCTIONS)
    return torch.autocast(device.type, dtype=torch.bfloat16) if enabled and supported else nullcontext()
