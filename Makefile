# The two commands to know are `make run` and `make test`; `make help` lists the rest.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
DATASET ?= ml-100k
CONFIG ?= decoder.gin
CONSTRAINTS ?= constraints.txt
EXTRAS ?= cpu,train,text,client,otel,bulk,ray,dev,bench
RQREC_PORT ?= 8000

BIN := .venv/bin
# One workspace a data set: the last part of its name or path.
WORKSPACE := artifacts/$(notdir $(DATASET:/=))
export RQREC_PORT
export RQREC_BUNDLE ?= $(WORKSPACE)/bundles

.DEFAULT_GOAL := help
# No target is a file, except .venv/.ready.
.PHONY: $(shell sed -nE 's/^([a-z-]+):.*/\1/p' $(firstword $(MAKEFILE_LIST)))

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

setup: .venv/.ready ## Make .venv with everything that running and testing needs

.venv/.ready: pyproject.toml $(CONSTRAINTS)
	@'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name it as in: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/pip install --quiet --constraint $(CONSTRAINTS) --editable '.[$(EXTRAS)]'
	@# so that python -m training.pipeline and python -m service work from any folder, not in the checkout alone
	@$(BIN)/python -c 'import pathlib, sysconfig; pathlib.Path(sysconfig.get_path("purelib"), "rqrec_checkout.pth").write_text("$(CURDIR)\n")'
	@touch $@

train: setup ## Train, evaluate and publish (DATASET=ml-100k, ml-1m, ml-25m, … or a folder)
	$(BIN)/rqrec train $(CONFIG) --dataset '$(DATASET)' --work-dir '$(WORKSPACE)'

run: train ## Train if needed, then serve on localhost:8000 (RQREC_PORT=8000)
	$(BIN)/rqrec serve

check: setup ## Formatter, linters, docstrings, types, import rules, container files
	$(MAKE) --no-print-directory --jobs=2 check-types check-text

check-types: setup
	$(BIN)/mypy

check-text: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/flake8 models training service rqrec
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile
	$(BIN)/yamllint --strict docker-compose.yml deploy .github .pre-commit-config.yaml

# A worker takes whole files, in the order of their names. Thus the examples in docstrings come last: they take a moment
# each, so the workers end together. Otherwise the files with the fewest tests would, and those are the slowest. Three
# workers suit two cores, because a quarter of a worker's time is spent waiting for servers and clocks.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder

test: check ## All checks and all tests, as CI runs them
	$(PYTEST)

coverage: setup ## All tests, with the share of lines that they run; fails below the floor in pyproject.toml
	$(PYTEST) --cov --cov-report term

# PyTorch, MKL, oneDNN, OpenBLAS and NumPy can be told to do without newer instructions; ONNX Runtime cannot.
NO_AVX2 := ATEN_CPU_CAPABILITY=default MKL_CBWR=COMPATIBLE DNNL_MAX_CPU_ISA=SSE41 OPENBLAS_CORETYPE=Nehalem \
  NPY_DISABLE_CPU_FEATURES='X86_V3 X86_V4 AVX512_ICL AVX512_SPR'
NO_AVX512 := ATEN_CPU_CAPABILITY=avx2 MKL_CBWR=AVX2 DNNL_MAX_CPU_ISA=AVX2 OPENBLAS_CORETYPE=Haswell \
  NPY_DISABLE_CPU_FEATURES='X86_V4 AVX512_ICL AVX512_SPR'
# NumPy warns of features that the processor does not have.
PORTABLE := $(PYTEST) -W 'ignore:During parsing environment variable:ImportWarning' tests/models tests/training

test-portable: setup ## The tests of models and training as on processors without AVX2, and without AVX-512
	$(NO_AVX2) $(PORTABLE)
	$(NO_AVX512) $(PORTABLE)

bench-search: setup ## Speed of the search beside transformers.generate (5 minutes)
	$(BIN)/python -m benchmarks.search

bench-scale: setup ## Latency, memory and build time up to ten million items (5 minutes, 7 GiB)
	$(BIN)/python -m benchmarks.large.search

bench-exactness: train ## Agreement of the search with scoring every item, on real histories
	$(BIN)/python -m benchmarks.exactness --dataset '$(DATASET)' --bundle '$(RQREC_BUNDLE)'

bench-accuracy: setup ## The recipe and SASRec (three seeds), BSARec and untrained baselines on DATASET (hours; twice where days are given)
	$(BIN)/python -m benchmarks.accuracy --dataset '$(DATASET)'

bench-feedback: setup ## Whether the ratings or event types of DATASET help (five trainings a seed)
	$(BIN)/python -m benchmarks.feedback --dataset '$(DATASET)'

bench-cold-start: setup ## Items that training never saw, on DATASET (Amazon Beauty: 15 minutes)
	$(BIN)/python -m benchmarks.cold_start --dataset '$(DATASET)'

bench-training: setup ## Items a second of both stages on DATASET, and what of it is no matrix product
	$(BIN)/python -m benchmarks.training_speed --dataset '$(DATASET)'

bench-gpu: train ## Tests and speed of all that runs on a GPU, beside the CPU (15 minutes; set up with EXTRAS=gpu,train,dev,bench)
	benchmarks/gpu.sh

bench-load: train ## The service under load from wrk (apt-get install wrk), beside transformers.generate (4 minutes)
	$(BIN)/python -m benchmarks.load --dataset '$(DATASET)' --bundle '$(RQREC_BUNDLE)'

bench-explain: train ## How much longer a request takes if its list is explained or controlled (2 minutes)
	$(BIN)/python -m benchmarks.explain --bundle '$(RQREC_BUNDLE)'

bench-bulk: train ## Users a second of rqrec bulk, its lists beside those of HTTP, and a kill in the middle (3 minutes)
	$(BIN)/python -m benchmarks.bulk --dataset '$(DATASET)' --bundle '$(RQREC_BUNDLE)'

bench-explorer: train ## The explorer with a million items, in a real Chromium (8 minutes, 10 GB; needs chromium)
	$(BIN)/python -m benchmarks.explorer --bundle '$(RQREC_BUNDLE)'

bench-live-catalogue: train ## How soon written items are known, up to a million items (6 minutes, 10 GB)
	$(BIN)/python -m benchmarks.live_catalogue --bundle '$(RQREC_BUNDLE)'

guide: train ## Follow one item and one user through the model of DATASET step by step, and draw the figures of docs/guide.md
	$(BIN)/python docs/guide/steps.py --work-dir '$(WORKSPACE)' --figures docs/guide

soak: train ## Ten minutes of load at the knee with each event store: do memory and store stay bounded? (needs wrk)
	$(BIN)/python -m benchmarks.soak --dataset '$(DATASET)' --bundle '$(RQREC_BUNDLE)' --store sqlite
	$(BIN)/python -m benchmarks.soak --dataset '$(DATASET)' --bundle '$(RQREC_BUNDLE)' --store redis

bench-rolling-update: setup ## Four replicas behind HAProxy: each is replaced, then the model, under load; needs haproxy (2 minutes)
	$(BIN)/python -m benchmarks.rolling_update --bundle '$(RQREC_BUNDLE)'

bench-large-catalogue: train ## Start, memory, latency and writes up to ten million items (10 minutes, 16 GB of disk)
	$(BIN)/python -m benchmarks.large.catalogue --bundle '$(RQREC_BUNDLE)'

bench-large-data: setup ## Reading, splitting and batching 5 and 25 million ratings (2 minutes, 2 GB)
	$(BIN)/python -m benchmarks.large.data

bench-loop: setup ## Real events in time against the running service, with and without retraining, on DATASET (40 minutes)
	$(BIN)/python -m benchmarks.loop --dataset '$(DATASET)'

bench-outcomes: setup ## How often the test of a canary's outcomes is wrong, and how soon it is right (5 minutes)
	$(BIN)/python -m benchmarks.outcomes

bench-returning-users: setup ## The same where users return, with the design effect that is estimated from the counts (6 minutes)
	$(BIN)/python -m benchmarks.outcomes.returning_users

bench-durability: train ## What is lost or counted twice when replicas, Redis and exports are killed (11 minutes)
	$(BIN)/python -m benchmarks.events.durability --bundle '$(RQREC_BUNDLE)' --store sqlite
	$(BIN)/python -m benchmarks.events.durability --bundle '$(RQREC_BUNDLE)' --store redis

bench-retraining: setup ## Retraining slice by slice beside no and full training, on MovieLens-100K in time (hours)
	$(BIN)/python -m benchmarks.retraining

fuzz: train ## 100,000 malformed bodies, then a minute of strangers' connections; nobody may be answered wrongly or late (5 minutes)
	$(BIN)/python -m benchmarks.hostile.fuzz --bundle '$(RQREC_BUNDLE)'
	$(BIN)/python -m benchmarks.hostile.strangers --bundle '$(RQREC_BUNDLE)'

chaos: train ## Everything goes wrong for five minutes, and every answer is checked
	$(BIN)/python -m benchmarks.chaos --bundle '$(RQREC_BUNDLE)'

audit: setup ## Look the installed packages up in the database of known vulnerabilities (needs the internet)
	$(BIN)/pip-audit --skip-editable --progress-spinner off

format: setup ## Format the code and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

openapi: setup ## Write docs/openapi.json anew from the service's code
	$(BIN)/python -c 'import json; from rqrec.service.app import create_app; from rqrec.service.settings import Settings; \
	print(json.dumps(create_app(Settings()).openapi(), indent=2))' > docs/openapi.json

clean: ## Remove what was built and trained, but not downloaded data
	rm -rf .venv build *.egg-info
	find artifacts -mindepth 1 -maxdepth 1 ! -name data -exec rm -rf {} +
