"""Sessions of ONNX Runtime, as every graph here is run. Needs no torch."""

from pathlib import Path

import onnxruntime as ort

CPU_PROVIDER, CUDA_PROVIDER = "CPUExecutionProvider", "CUDAExecutionProvider"


def open_session(graph: Path, *, cuda: bool = False, profile_to: Path | None = None) -> ort.InferenceSession:
    """Opens a graph for one thread, or the GPU; with `profile_to`, ONNX Runtime writes its own measurements there."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    if profile_to is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(profile_to)
    providers = [CUDA_PROVIDER, CPU_PROVIDER] if cuda else [CPU_PROVIDER]
    # The fused kernel for a sum and a norm is several times slower on a CPU than the two it replaces.
    return ort.InferenceSession(
        graph, options, providers=providers, disabled_optimizers=None if cuda else ["SkipLayerNormFusion"]
    )


def cuda_is_available() -> bool:
    """Whether the installed ONNX Runtime can compute on a GPU."""
    return CUDA_PROVIDER in ort.get_available_providers()
