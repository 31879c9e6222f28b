from collections.abc import Iterator
from pathlib import Path

import onnxruntime as ort
import pytest

from rqrec.models.onnx_session import CPU_PROVIDER, CUDA_PROVIDER, cuda_is_available, open_session


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    cuda_is_available.cache_clear()
    yield
    cuda_is_available.cache_clear()


def as_build_for_gpus(monkeypatch: pytest.MonkeyPatch, *, fails: bool) -> None:
    """Makes this ONNX Runtime look like its build for GPUs, on a machine with a GPU or without."""

    def to_device(*_: object) -> None:
        if fails:
            raise RuntimeError("CUDA Provider not available, can't get interface for it")

    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA_PROVIDER, CPU_PROVIDER])
    monkeypatch.setattr(ort, "preload_dlls", lambda: print("Failed to load libcublas.so.13"))
    monkeypatch.setattr(ort.OrtValue, "ortvalue_from_numpy", to_device)


def test_the_build_for_gpus_alone_is_no_gpu(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    as_build_for_gpus(monkeypatch, fails=True)
    assert not cuda_is_available()
    assert capfd.readouterr() == ("", "")


def test_a_gpu_that_takes_an_array_is_available(monkeypatch: pytest.MonkeyPatch) -> None:
    as_build_for_gpus(monkeypatch, fails=False)
    assert cuda_is_available()


def test_the_build_for_cpus_is_not_asked_for_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    as_build_for_gpus(monkeypatch, fails=False)
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CPU_PROVIDER])
    assert not cuda_is_available()


def test_a_gpu_computes_in_full_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(ort, "InferenceSession", lambda *_, providers, **__: asked.extend(providers))
    open_session(Path("search.onnx"), cuda=True)
    assert asked == [(CUDA_PROVIDER, {"use_tf32": "0"}), CPU_PROVIDER]
