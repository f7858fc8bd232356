# GIFT: from a bare clone to a result. `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS ?=# what `make setup` installs besides: heic, ray, s3, ssh, gs, azure, t5, onnx, lora (EXTRAS=heic,s3), dev
INSTALLED := $(VENV)/.installed$(if $(EXTRAS),-$(EXTRAS))
DEV := $(VENV)/.installed-dev# what tests and benchmarks need besides
WORKERS ?= 3# processes of the tests, each with one thread and about 2 GiB; they often wait, so three keep two cores busy
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONUTF8 := 1
# Bytecode is written when a module is first imported (pip --no-compile), even where a container turns that off.
export PYTHONDONTWRITEBYTECODE :=
export DVC_NO_ANALYTICS := 1
export HF_HUB_DISABLE_TELEMETRY := 1

.PHONY: help setup repro repro-parallel plan show dag remote get share test test-fast test-slow test-hostile test-resume lint format docs docs-serve pretrain-mini compare search curve bench bench-steps bench-few-steps bench-memory bench-precision bench-startup bench-threads bench-hash bench-snapshots bench-overlap bench-engine bench-growth bench-compile smoke-full smoke-laptop bench-gpu gpu-checks command-line golden revisions constraints clean

help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## make .venv, install the project with pinned versions, set git's merge drivers

$(sort $(INSTALLED) $(DEV)): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "GIFT needs Python 3.10 or newer; $(PYTHON) is $$($(PYTHON) --version). Try: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 1; }
	@echo "Setting up $(VENV) (a minute or two the first time, most of it PyTorch) ..."
	@extras="$(subst .installed,,$(@F))"; project=".$${extras:+[$${extras#-}]}"; \
	if command -v uv >/dev/null 2>&1; then \
		uv venv --quiet --allow-existing --python "$$(command -v $(PYTHON))" $(VENV) && \
		VIRTUAL_ENV=$(CURDIR)/$(VENV) uv pip install --constraint constraints.txt --editable "$$project"; \
	else \
		{ $(PYTHON) -m venv $(VENV) || { echo "python3-venv is missing. On Debian or Ubuntu: apt-get install python3-venv"; exit 1; }; } && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt --editable "$$project"; \
	fi
	@if git rev-parse --git-dir >/dev/null 2>&1; then \
		git config merge.dvc-lock.name "stages of dvc.lock" && \
		git config merge.dvc-lock.driver "$$(git rev-parse --show-prefix)$(BIN)/gift merge-lock %O %A %B" && \
		git config merge.ours.driver true; \
	fi
	@touch $@ $(VENV)/.installed

repro: $(INSTALLED) ## run the stages that are new or changed, print the result and the location of the report
	@gift doctor --quick
	@python -m stages.fork_server dvc repro
	@gift show

repro-parallel: $(INSTALLED) ## the same, several stages at once, with Ray (EXTRAS=ray; docs/scaling.md)
	@gift doctor --quick
	@gift run $(ARGS)
	@gift show

plan: $(INSTALLED) ## list all stages of params.yaml in their order, and how long they take; this needs no data
	@dvc repro --dry --force
	@! grep -q '^sequence: *\[\]' params.yaml || echo "There is no task to learn yet. Add one: gift add-task NAME --images FOLDER"
	@gift doctor --time || true
	@gift why 2>/dev/null | tail -n 1

show: $(INSTALLED) ## print the result again: table, sentences, location of the report
	@gift show

dag: $(INSTALLED) ## draw the stage types as a graph (`dvc dag` draws every stage)
	@gift dag

remote: $(INSTALLED) ## set where results are shared: URL=/mnt/shared/gift, s3://bucket/gift, ssh://host/path ...
	@gift remote "$$URL"

get: $(INSTALLED) ## pull results and raw data before you run anything; without a remote, say what that means
	@gift get

share: $(INSTALLED) ## push results, raw data and the run cache to the remote
	@dvc push --run-cache

test: $(DEV) ## run the test suite, in WORKERS=3 processes
	@python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-fast: $(DEV) ## run the tests of the method, the library and the settings, without a pipeline
	@python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder tests/test_*.py tests/clip tests/config tests/library tests/replay tests/training $(ARGS)

test-all: $(DEV) ## run the test suite with crashes, clusters, documents, browsers, bad input and the benchmarks' scripts
	@python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not slow and not hostile and not gpu" $(ARGS)

test-slow: $(DEV) ## run the long and full-size tests that the test suite leaves out (half an hour, 24 GiB)
	@python -m pytest -m slow $(ARGS)

test-hostile: $(DEV) ## run the whole campaigns of bad input, of which the test suite runs a sample (minutes)
	@python -m pytest -s -m hostile tests/hostile $(ARGS)

test-resume: $(DEV) ## kill finetune, evaluate and teach at random moments (KILLS=10 of each kind; 10 minutes), and compare the results
	@python -m pytest -m slow tests/interruption $(ARGS)

lint: $(DEV) ## run ruff and mypy --strict
	@ruff check .
	@ruff format --check .
	@mypy

format: $(DEV) ## format the code with ruff
	@ruff check --fix-only --quiet .
	@ruff format .

docs: $(DEV) ## build the site of the guides and the reference in site/, and check its links
	@NO_MKDOCS_2_WARNING=1 mkdocs build
	@echo "The guides: $(CURDIR)/site/index.html (search needs a server: make docs-serve)"

docs-serve: $(DEV) ## show the site at a local address, with search, and again after each change
	@NO_MKDOCS_2_WARNING=1 mkdocs serve

pretrain-mini: $(DEV) ## train the two miniature models again (hours; resumable)
	@cd recipes/mini && dvc repro

compare: $(DEV) ## run all methods with three seeds on the miniature benchmark (an hour), and compare them
	@python benchmarks/compare.py --record benchmarks/compare.csv $(ARGS)

search: $(DEV) ## search the settings in benchmarks/search.yaml on a validation part of the training splits
	@python benchmarks/search.py $(ARGS)

curve: $(DEV) ## measure the metrics against the number of synthetic images (ARGS="--methods gift gift_l2")
	@python benchmarks/curve.py $(ARGS)

bench: $(DEV) ## measure every stage beside a naive way and beside the least that its work takes (ARGS="--size full")
	@python -m benchmarks.bench $(ARGS)

bench-steps: $(DEV) ## measure the time of an iteration of each method, relative to fine-tuning
	@python benchmarks/step_time.py $(ARGS)

bench-few-steps: $(DEV) ## measure speed and quality of generated images, and the result of gift, by denoising steps and guidance (half an hour)
	@python benchmarks/few_steps.py --variants benchmarks/vocabulary.yaml --order letters textures zodiac $(ARGS)

bench-precision: $(DEV) ## measure what half precision changes in the result, seed by seed (a quarter of an hour)
	@python benchmarks/precision.py --order letters textures zodiac $(ARGS)

bench-memory: $(DEV) ## measure memory and time of an iteration with each setting that saves memory
	@python benchmarks/memory.py $(ARGS)

bench-startup: $(DEV) ## measure the time from the start of a stage's process to its first work, after make repro
	@python -m benchmarks.startup $(ARGS)

bench-threads: $(DEV) ## measure how threads should wait for each other, alone and beside other processes (ten minutes)
	@python benchmarks/threads.py $(ARGS)

bench-hash: $(DEV) ## measure the time of checking a model, relative to loading it
	@python benchmarks/hashing.py $(ARGS)

bench-snapshots: $(DEV) ## measure what the snapshots of interrupted training cost
	@python benchmarks/snapshots.py $(ARGS)

bench-overlap: $(DEV) ## measure how much of the time a fake device computes, with and without overlap (two minutes)
	@python benchmarks/overlap.py $(ARGS)

bench-engine: $(DEV) ## measure what gift run costs beside dvc repro, and its speed-up on several workers
	@python -m benchmarks.engine $(ARGS)

bench-growth: $(DEV) ## measure how time and memory grow with classes, tasks, images, models and stages (half an hour, 16 GiB)
	@python -m benchmarks.growth $(ARGS)

bench-compile: $(DEV) ## measure what torch.compile would cost and save, for the encoders and the UNet (minutes)
	@python benchmarks/compiling.py $(ARGS)

smoke-full: $(DEV) ## run the pipeline at full size with random weights on a CPU; measure time and memory
	@python -m benchmarks.smoke_full --record benchmarks $(ARGS)

smoke-laptop: $(DEV) ## run the preset laptop with random weights and little work (five minutes); measure time and memory
	@python -m benchmarks.smoke_laptop --record benchmarks $(ARGS)

bench-gpu: $(DEV) ## measure images and iterations per second at full size on a GPU
	@python -m benchmarks.throughput --record benchmarks $(ARGS)

gpu-checks: ## run tests and benchmarks on a GPU, in pieces of 8 minutes, each with its own results in OUT (docs/full_size.md)
	@$(PYTHON) -m benchmarks.gpu.checks $(if $(OUT),--out $(OUT)) $(ARGS)

command-line: $(DEV) ## write the commands into docs/command_line.md
	@python -m tests.docs.command_line

golden: $(DEV) ## record the golden losses again (say why in CHANGELOG.md under Numbers)
	@python benchmarks/golden.py

revisions: $(DEV) ## decide which stages have to run again after a change of the code, and record it (four minutes; docs/architecture.md)
	@python -m recipes.revisions $(ARGS)

constraints: ## pin the newest versions that work together (needs uv)
	@{ head -n 1 constraints.txt; uv pip compile --quiet --universal --python-version 3.10 --extra dev --extra s3 --extra ssh --extra gs --extra azure --no-annotate --no-header --no-emit-index-url \
		pyproject.toml | grep -viE '^(torch|torchvision|nvidia-|cuda-|triton|setuptools|sympy|mpmath|--)[=a-z0-9-]*(==| )'; } > constraints.new && mv constraints.new constraints.txt

clean: ## remove the environment and unfinished work (results stay in DVC's cache)
	@if [ -x $(BIN)/gift ]; then $(BIN)/gift clean --yes; fi
	rm -rf $(VENV) .gift
