#!/usr/bin/env bash
# Tests and measures all that runs on a GPU, beside the CPU's rows: benchmarks/gpu.sh [STEPS]
# STEPS: training steps to time (default 200; 20 on the CPU). PYTHON: default .venv/bin/python.
set -euo pipefail
cd "$(dirname "$0")/.."
steps=${1:-200}
python=${PYTHON:-.venv/bin/python}
if ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
  echo "benchmarks/gpu.sh needs a GPU that torch can use, and there is none: install the driver and the gpu extra" >&2
  exit 2
fi
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
"$python" -m pytest -m gpu -n 0 tests
"$python" -m benchmarks.gpu
"$python" -m benchmarks.training_speed --synthetic decoder_ml25m.gin --steps "$steps"
CUDA_VISIBLE_DEVICES= "$python" -m benchmarks.training_speed --synthetic decoder_ml25m.gin --steps 20
