"""ONNX Runtime sessions, with the same options for every graph. Needs no torch."""

from pathlib import Path

import onnxruntime as ort

CPU_PROVIDER, CUDA_PROVIDER = "CPUExecutionProvider", "CUDAExecutionProvider"


def open_session(graph: Path, *, cuda: bool = False, profile_to: Path | None = None) -> ort.InferenceSession:
    """Opens a graph for one CPU thread or for the GPU.

    Args:
        graph: The ONNX file.
        cuda: Run on the GPU.
        profile_to: Path prefix of the profile that ONNX Runtime writes; None for no profile.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    if profile_to is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(profile_to)
    providers = [CUDA_PROVIDER, CPU_PROVIDER] if cuda else [CPU_PROVIDER]
    # On a CPU the fused kernel for a sum and a norm is several times slower than the two separate kernels.
    return ort.InferenceSession(
        graph, options, providers=providers, disabled_optimizers=None if cuda else ["SkipLayerNormFusion"]
    )


def cuda_is_available() -> bool:
    """Whether the installed ONNX Runtime can compute on a GPU."""
    return CUDA_PROVIDER in ort.get_available_providers()
