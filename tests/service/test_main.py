from pathlib import Path

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from service import __main__ as program


def test_numpy_computes_with_one_thread_in_the_service(bundles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []

    def serve(*_arguments: object) -> None:
        threads.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")

    monkeypatch.setenv("RQREC_BUNDLE", str(bundles))
    monkeypatch.setattr(program, "serve", serve)
    with threadpool_limits(2, user_api="blas"):
        program.main()
    assert threads
    assert set(threads) == {1}
