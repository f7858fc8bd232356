# GIFT: from a bare clone to a result. `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS ?=# what `make setup` installs besides: heic, ray, s3, ssh, gs, azure, t5, onnx, lora (EXTRAS=heic,s3), dev
TORCH ?=# cpu or cuda: the build of PyTorch (otherwise: with CUDA where there is an NVIDIA GPU)
RECORD :=# RECORD=1, for maintainers: benchmarks write the published files instead of .gift/benchmarks
INTO := $(if $(RECORD),--out benchmarks)
INSTALLED := $(VENV)/.installed$(if $(EXTRAS),-$(EXTRAS))
DEV := $(VENV)/.installed-dev# what tests and benchmarks need besides
WORKERS ?= 3# processes of the tests, each with one thread and about 2 GiB; they often wait, so three keep two cores busy
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONUTF8 := 1
# Bytecode is written when a module is first imported (pip --no-compile), even where a container turns that off.
export PYTHONDONTWRITEBYTECODE :=
export DVC_NO_ANALYTICS := 1
export HF_HUB_DISABLE_TELEMETRY := 1

.PHONY: help help-dev setup repro repro-parallel plan show remote get share test test-fast test-all test-slow lint format docs docs-serve compare search curve bench bench-few-steps smoke-full smoke-laptop gpu-checks command-line results pictures golden versions constraints clean

help:
	@awk 'BEGIN {FS = ":.* ## "} /^[a-z-]+:.* ## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "To run the experiment: make repro (sets up .venv, shows the result), dvc repro (the same stages, in the activated .venv),"
	@echo "or gift run (several stages at once, with Ray)."

setup: $(INSTALLED) ## make .venv, install the project with pinned versions, set git's merge drivers

$(sort $(INSTALLED) $(DEV)): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "GIFT needs Python 3.10 or newer; $(PYTHON) is $$($(PYTHON) --version). Try: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 1; }
	@$(PYTHON) recipes/environment.py $(VENV) --extras=$(patsubst -%,%,$(subst .installed,,$(@F))) --torch=$(TORCH)
	@if git rev-parse --git-dir >/dev/null 2>&1; then \
		git config merge.dvc-lock.name "stages of dvc.lock" && \
		git config merge.dvc-lock.driver "$$(git rev-parse --show-prefix)$(BIN)/gift merge-lock %O %A %B" && \
		git config merge.ours.driver true; \
	fi
	@touch $@ $(VENV)/.installed

repro: $(INSTALLED) ## run the stages that are new or changed, print the result and the location of the report
	@gift doctor --quick
	@python -m stages.dvc.fork_server dvc repro
	@gift show

repro-parallel: $(INSTALLED) ## the same, several stages at once, with Ray (EXTRAS=ray; docs/scaling.md)
	@gift doctor --quick
	@gift run $(ARGS)
	@gift show

plan: $(INSTALLED) ## list all stages of params.yaml in their order, and how long they take by the last rehearsal; this needs no data
	@dvc repro --dry --force
	@! grep -q '^sequence: *\[\]' params.yaml || echo "There is no task to learn yet. Add one: gift add-task NAME --images FOLDER"
	@gift doctor --time || true
	@gift why 2>/dev/null | tail -n 1

show: $(INSTALLED) ## print the result again: table, sentences, location of the report
	@gift show

remote: $(INSTALLED) ## set where results are shared: URL=/mnt/shared/gift, s3://bucket/gift (ENDPOINT=https://...), ssh://host/path ...
	@gift remote "$$URL" $${ENDPOINT:+--endpoint "$$ENDPOINT"} $(ARGS)

get: $(INSTALLED) ## pull results and raw data before you run anything; without a remote, say what that means
	@gift get

share: $(INSTALLED) ## push results, raw data and the run cache to the remote
	@gift share

test: $(DEV) ## run the test suite, in WORKERS=3 processes
	@python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-fast: $(DEV) ### run the tests of the method, the library and the settings, without a pipeline
	@python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder tests/test_*.py tests/clip tests/config tests/library tests/method/replay tests/method/training $(ARGS)

test-all: $(DEV) ### run the test suite with crashes, clusters, documents, browsers, bad input and the benchmarks' scripts
	@python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not slow and not gpu" $(ARGS)

test-slow: $(DEV) ### run the long and full-size tests that the test suite leaves out (half an hour, 24 GiB)
	@python -m pytest -m slow $(ARGS)

lint: $(DEV) ### run ruff and mypy --strict
	@ruff check .
	@ruff format --check .
	@mypy

format: $(DEV) ### format the code with ruff
	@ruff check --fix-only --quiet .
	@ruff format .

docs: $(DEV) ## build the site of the guides and the reference in site/, and check its links
	@NO_MKDOCS_2_WARNING=1 mkdocs build
	@echo "The guides: $(CURDIR)/site/index.html (search needs a server: make docs-serve)"

docs-serve: $(DEV) ### show the site at a local address, with search, and again after each change
	@NO_MKDOCS_2_WARNING=1 mkdocs serve

compare: $(DEV) ## run all methods with three seeds on the miniature benchmark (an hour), and compare them
	@gift compare --params presets/mini_compare.yaml --seeds 1,2,3 --against gift $(ARGS)
	@$(if $(RECORD),cp reports/comparison/comparison.csv benchmarks/compare.csv,true)

search: $(DEV) ## search the settings in benchmarks/search.yaml on a validation part of the training splits
	@python -m benchmarks.search $(if $(RECORD),--out benchmarks/search.csv) $(ARGS)

curve: $(DEV) ### measure the metrics against the number of synthetic images (ARGS="--methods gift gift_l2")
	@python -m benchmarks.curve $(if $(RECORD),--out benchmarks/curve.csv --figure docs/images_curve.png) $(ARGS)

bench: $(DEV) ### measure an iteration: the time of each method, and memory and time with each setting that saves memory
	@python -m benchmarks.step_time $(INTO) $(ARGS) && python -m benchmarks.memory $(INTO) $(ARGS)

bench-few-steps: $(DEV) ### measure speed and quality of generated images, and the result of gift, by denoising steps and guidance (half an hour)
	@python -m benchmarks.few_steps $(if $(RECORD),--out benchmarks/few_steps.csv --figure docs/few_steps.png) --variants benchmarks/vocabulary.yaml --order letters textures zodiac $(ARGS)

smoke-full: $(DEV) ### run the pipeline at full size with random weights on a CPU; measure time and memory
	@python -m benchmarks.smoke_full $(if $(RECORD),--record benchmarks) $(ARGS)

smoke-laptop: $(DEV) ### run the preset laptop with random weights and little work (five minutes); measure time and memory
	@python -m benchmarks.smoke_laptop $(if $(RECORD),--record benchmarks) $(ARGS)

gpu-checks: ### run tests and benchmarks on a GPU, in pieces of 8 minutes, each with its own results in OUT (docs/full_size.md)
	@$(PYTHON) -m benchmarks.gpu.checks $(if $(OUT),--out $(OUT)) $(ARGS)

command-line: $(DEV) ### write the commands into docs/command_line.md
	@python -m tests.docs.command_line

results: $(DEV) ### write the tables of README.md and docs/results.md from benchmarks/*.csv
	@python -m recipes.results_tables

pictures: $(DEV) ### draw the pictures of docs/how_it_works.md again, after make repro
	@python -m recipes.pictures

golden: $(DEV) ### record the golden losses again (say why in CHANGELOG.md under Numbers)
	@python -m benchmarks.golden

versions: $(DEV) ### record the code of the present versions; ARGS=--compare: find stages that write something else (four minutes; CONTRIBUTING.md)
	@python -m recipes.versions $(ARGS)

constraints: ### pin the newest versions that work together (needs uv)
	@{ head -n 1 constraints.txt; uv pip compile --quiet --universal --python-version 3.10 --extra dev --extra s3 --extra ssh --extra gs --extra azure --no-annotate --no-header --no-emit-index-url \
		pyproject.toml | grep -viE '^(torch|torchvision|nvidia-|cuda-|triton|setuptools|sympy|mpmath|--)[=a-z0-9-]*(==| )'; } > constraints.new && mv constraints.new constraints.txt

clean: ## remove the environment and unfinished work (results stay in DVC's cache)
	@if [ -x $(BIN)/gift ]; then $(BIN)/gift clean --yes; fi
	rm -rf $(VENV) .gift

help-dev: ## list the targets for work on the code
	@awk 'BEGIN {FS = ":.* ### "} /^[a-z-]+:.* ### / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "Benchmarks write into .gift/benchmarks, with RECORD=1 (for maintainers) into the published files."
