"""The precision of training follows from the processor's instructions."""

import pytest
import torch

from rqrec.training.runtime.device import autocast


@pytest.mark.parametrize(
    ("capabilities", "enabled", "expected"),
    [
        ({"architecture": "x86_64", "avx512_bf16": True}, True, torch.bfloat16),
        ({"architecture": "x86_64", "avx512_bf16": False, "amx_bf16": True}, True, torch.bfloat16),
        ({"architecture": "arm64", "bf16": True}, True, torch.bfloat16),
        ({"architecture": "x86_64", "avx512_bf16": True}, False, torch.float32),
        # oneDNN runs bfloat16 on every processor with AVX-512, but without these instructions it only emulates it.
        ({"architecture": "x86_64", "avx512_f": True, "avx512_bf16": False}, True, torch.float32),
        ({"architecture": "arm64", "neon": True}, True, torch.float32),
    ],
)
def test_bfloat16_is_used_where_the_processor_has_instructions_for_it(
    capabilities: dict[str, object], enabled: bool, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    ones = torch.ones(2, 2)
    with autocast(torch.device("cpu"), enabled=enabled):
        assert (ones @ ones).dtype == expected
