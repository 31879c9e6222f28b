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


def test_a_misspelt_setting_is_told_at_the_start(
    bundles: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "serve", lambda *_arguments: None)
    for name, value in {"RQREC_BUNDLE": str(bundles), "RQREC_BEEM_WIDTH": "20", "RQREC_HOST": "::1"}.items():
        monkeypatch.setenv(name, value)
    program.main()
    written = capsys.readouterr().err
    assert "RQREC_BEEM_WIDTH is no setting and is ignored; did you mean RQREC_BEAM_WIDTH?" in written
    assert "RQREC_HOST" not in written


def test_the_address_that_kubernetes_puts_in_place_of_the_port_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RQREC_PORT", "tcp://10.0.0.1:80")
    with pytest.raises(SystemExit, match="2"):
        program.main()
    assert "RQREC_PORT: expected a port, got 'tcp://10.0.0.1:80', which Kubernetes sets" in capsys.readouterr().err
