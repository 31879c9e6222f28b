"""Opens ONNX Runtime sessions, with the same options for every graph. This module does not need PyTorch."""

import functools
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import onnxruntime as ort

CPU_PROVIDER, CUDA_PROVIDER = "CPUExecutionProvider", "CUDAExecutionProvider"
WARNING, ERROR, FATAL = 2, 3, 4  # severities of ONNX Runtime's log; it starts with WARNING
# TF32 would round float32 to 10 bits in matrix products. On an H200 it is no faster here.
CUDA = (CUDA_PROVIDER, {"use_tf32": "0"})


def open_session(graph: Path, *, cuda: bool = False, profile_to: Path | None = None) -> ort.InferenceSession:
    """Opens an ONNX file as a session of ONNX Runtime, which runs on one CPU thread or on the GPU.

    Args:
        graph: The path of the ONNX file.
        cuda: Whether to run on the GPU.
        profile_to: The path prefix of the profile that ONNX Runtime writes; None to write no profile.

    Returns:
        The session; its method `run` computes the graph.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    if profile_to is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(profile_to)
    if cuda:
        options.log_severity_level = ERROR  # it warns of each copy between the devices, and a few are needed
    providers = [CUDA, CPU_PROVIDER] if cuda else [CPU_PROVIDER]
    # On a CPU the fused kernel for a sum and a norm is several times slower than the two separate kernels.
    return ort.InferenceSession(
        graph, options, providers=providers, disabled_optimizers=None if cuda else ["SkipLayerNormFusion"]
    )


@functools.cache
def cuda_is_available() -> bool:
    """Returns whether ONNX Runtime can compute on a GPU: its GPU build, the CUDA libraries and a GPU must be present.

    The check copies an array to the GPU. The list of providers would not be enough: the GPU build of ONNX Runtime lists
    CUDA also on a machine without a GPU. The result is cached.
    """
    if CUDA_PROVIDER not in ort.get_available_providers():
        return False
    with redirect_stdout(StringIO()):  # it prints the libraries that it does not find
        ort.preload_dlls()  # CUDA and cuDNN from their Python packages; the loader finds other installations itself
    ort.set_default_logger_severity(FATAL)  # otherwise it logs the failure that the exception reports
    try:
        ort.OrtValue.ortvalue_from_numpy(np.zeros(1, dtype=np.float32), "cuda", 0)
    except RuntimeError:
        return False
    finally:
        ort.set_default_logger_severity(WARNING)
    return True
