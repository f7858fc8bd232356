# GIFT: from a bare clone to a result. `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
WORKERS ?= 2# processes of the tests, a thread and about 2 GiB each
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONUTF8 := 1
export DVC_NO_ANALYTICS := 1
export HF_HUB_DISABLE_TELEMETRY := 1

.PHONY: help setup repro plan show dag report test test-fast test-slow lint format pretrain-mini compare search curve bench-steps bench-memory smoke-full bench-gpu golden constraints clean

help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## make .venv and install the project with pinned versions

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "GIFT needs Python 3.10 or newer; $(PYTHON) is $$($(PYTHON) --version). Try: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 1; }
	@echo "Setting up $(VENV) (a few minutes the first time, most of it PyTorch) ..."
	@if command -v uv >/dev/null 2>&1; then \
		uv venv --quiet --allow-existing --python "$$(command -v $(PYTHON))" $(VENV) && \
		VIRTUAL_ENV=$(CURDIR)/$(VENV) uv pip install --constraint constraints.txt --editable '.[dev]'; \
	else \
		{ $(PYTHON) -m venv $(VENV) || { echo "python3-venv is missing. On Debian or Ubuntu: apt-get install python3-venv"; exit 1; }; } && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'; \
	fi
	@touch $@

repro: $(INSTALLED) ## run what is new or changed of the pipeline, print the table and where the report lies
	@gift doctor --quick
	@dvc repro
	@gift show

plan: $(INSTALLED) ## list all cells of params.yaml in the order they would run; no data is needed for that
	@dvc repro --dry --force

show: $(INSTALLED) ## print the result table again
	@gift show

dag: $(INSTALLED) ## draw the pipeline
	@dvc dag

test: $(INSTALLED) ## the whole test suite, in WORKERS=2 processes
	@python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-fast: $(INSTALLED) ## the suite without the end-to-end runs
	@python -m pytest -m "not end_to_end and not slow" $(ARGS)

test-slow: $(INSTALLED) ## the full-size checks that the suite leaves out (a quarter of an hour, 24 GiB)
	@python -m pytest -m slow $(ARGS)

lint: $(INSTALLED) ## ruff and mypy --strict
	@ruff check .
	@ruff format --check .
	@mypy

format: $(INSTALLED) ## let ruff rewrite the code's layout
	@ruff check --fix-only --quiet .
	@ruff format .

pretrain-mini: $(INSTALLED) ## make the two miniature models again (hours; resumable)
	@cd gift_core/mini/pretrain && dvc repro

compare: $(INSTALLED) ## all methods over three seeds on the miniature benchmark (an hour), and their report
	@python benchmarks/compare.py --record benchmarks/compare.csv $(ARGS)

search: $(INSTALLED) ## each method's rate and anchor weight, on a validation part of the training splits
	@python benchmarks/search.py $(ARGS)

curve: $(INSTALLED) ## accuracy against the number of synthetic images
	@python benchmarks/curve.py $(ARGS)

bench-steps: $(INSTALLED) ## time of a training step of each method, relative to fine-tuning
	@python benchmarks/step_time.py $(ARGS)

bench-memory: $(INSTALLED) ## memory and time of a training step with each setting that saves memory
	@python benchmarks/memory.py $(ARGS)

smoke-full: $(INSTALLED) ## the whole pipeline at full size with random weights on a CPU: time and memory of every stage
	@python -m benchmarks.smoke_full --record benchmarks $(ARGS)

bench-gpu: $(INSTALLED) ## images and training steps a second at full size, on a GPU
	@python -m benchmarks.throughput --record benchmarks $(ARGS)

golden: $(INSTALLED) ## write the golden losses again (say why in CHANGELOG.md under Numbers)
	@python benchmarks/golden.py

constraints: ## pin the newest versions that work together (needs uv)
	@{ head -n 1 constraints.txt; uv pip compile --quiet --universal --python-version 3.10 --extra dev --no-annotate --no-header --no-emit-index-url \
		pyproject.toml | grep -viE '^(torch|torchvision|nvidia-|cuda-|triton|setuptools|sympy|mpmath|--)[=a-z0-9-]*(==| )'; } > constraints.new && mv constraints.new constraints.txt

clean: ## remove the environment and the work area (results stay in DVC's cache)
	rm -rf $(VENV) .gift
