#!/usr/bin/env bash
# Tests and measures all that runs on a GPU, beside the CPU's rows: benchmarks/gpu.sh [STEPS]
# STEPS: training steps to time (default 200; 20 on the CPU). PYTHON: default .venv/bin/python.
# DATASET, RQREC_BUNDLE: what the service is loaded with (default ml-100k and its bundle; `make train` makes it).
set -euo pipefail
cd "$(dirname "$0")/.."
steps=${1:-200}
python=${PYTHON:-.venv/bin/python}
dataset=${DATASET:-ml-100k}
bundle=${RQREC_BUNDLE:-artifacts/$(basename "$dataset")/bundles}
if ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
  echo "benchmarks/gpu.sh needs a GPU that torch can use, and there is none: install the driver and the gpu extra" >&2
  exit 2
fi
if [ ! -d "$bundle" ]; then
  echo "benchmarks/gpu.sh needs a bundle to serve, and $bundle does not exist: run make train, or set RQREC_BUNDLE" >&2
  exit 2
fi
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
"$python" -m pytest -m gpu -n 0 tests
"$python" -m benchmarks.gpu
for engine in "onnx cpu fp32" "onnx cuda fp32" "torch cuda fp32" "torch cuda half"; do
  read -r backend device precision <<<"$engine"
  echo "The service with RQREC_BACKEND=$backend RQREC_DEVICE=$device RQREC_PRECISION=$precision"
  RQREC_BACKEND=$backend RQREC_DEVICE=$device RQREC_PRECISION=$precision \
    "$python" -m benchmarks.load --dataset "$dataset" --bundle "$bundle" --seconds 5 --no-peer
done
"$python" -m benchmarks.training_speed --synthetic decoder_ml25m.gin --steps "$steps"
CUDA_VISIBLE_DEVICES= "$python" -m benchmarks.training_speed --synthetic decoder_ml25m.gin --steps 20
