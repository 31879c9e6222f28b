import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from tests.conftest import SMALL_CONFIG

REPOSITORY = Path(__file__).parents[2]
# No chance: what is dropped and mixed would differ from process to process. Few steps, before rounding adds up.
BINDINGS = (
    *SMALL_CONFIG,
    "RqVaeSettings.mode = 'rotation_trick'",
    "RqVaeSettings.steps = 10",
    "RqVaeSettings.batch_size = 21",
    "DecoderSettings.epochs = 1",
    "DecoderSettings.batch_size = 25",
    "DecoderSettings.bf16 = False",
    "DecoderSettings.dropout = 0.0",
    "DecoderSettings.decoder_dropout = 0.0",
    "DecoderSettings.feature_dropout = 0.0",
)
STAGES = (("rqvae", "rqvae.safetensors"), ("decoder", "retriever.safetensors"))


def start(shop: Path, work: Path, processes: int, *bindings: str) -> subprocess.Popen[str]:
    config = work.parent / "small.gin"
    config.write_text("\n".join(BINDINGS))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torchrun = ["torch.distributed.run", f"--nproc-per-node={processes}", f"--master-port={port}", "-m"]
    arguments = [str(config), "--dataset", str(shop), "--work-dir", str(work)]
    for binding in bindings:
        arguments += ["--set", binding]
    return subprocess.Popen(
        [sys.executable, "-m", *(torchrun if processes > 1 else []), "training.train_decoder", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    return output


def weights(work: Path) -> dict[str, torch.Tensor]:
    return {
        f"{stage}.{name}": tensor for stage, file in STAGES for name, tensor in load_file(work / stage / file).items()
    }


def assert_close(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    for name, tensor in one.items():
        torch.testing.assert_close(other[name], tensor, atol=2e-3, rtol=0, msg=name)


def test_two_processes_and_accumulation_train_to_the_weights_of_one(shop: Path, tmp_path: Path) -> None:
    finish(start(shop, tmp_path / "one", 1))
    finish(start(shop, tmp_path / "two", 2))
    assert_close(weights(tmp_path / "one"), weights(tmp_path / "two"))
    accumulate = "RqVaeSettings.accumulate = 3", "DecoderSettings.accumulate = 3"
    finish(start(shop, tmp_path / "parts", 1, *accumulate))
    assert_close(weights(tmp_path / "one"), weights(tmp_path / "parts"))


def test_a_stopped_run_goes_on_with_another_number_of_processes(shop: Path, tmp_path: Path) -> None:
    longer = (
        "RqVaeSettings.steps = 400",
        "RqVaeSettings.checkpoint_every_steps = 10",
        "RqVaeSettings.learning_rate = 1e-5",
    )
    stopped = start(shop, tmp_path / "work", 2, *longer)
    while not list((tmp_path / "work").glob("rqvae-checkpoints/*/step-*")):
        assert stopped.poll() is None, stopped.communicate()
    stopped.send_signal(signal.SIGTERM)
    stopped.communicate(timeout=120)
    assert stopped.returncode != 0
    assert not (tmp_path / "work" / "rqvae").exists()
    finish(start(shop, tmp_path / "work", 1, *longer))
    finish(start(shop, tmp_path / "whole", 1, *longer))
    codebooks = [load_file(tmp_path / work / "rqvae" / "rqvae.safetensors") for work in ("work", "whole")]
    assert_close(*codebooks)
