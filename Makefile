# Two commands do everything on a fresh machine: `make demo` and `make test`. Both set up what they need first.
# They pick interpreter and stack by themselves (requirements/set_up.py); PYTHON=/path/to/python3 names an interpreter.
PYTHON ?=
OUT ?= out/demo
DATA ?= ../shared
BIN := .venv/bin
UV := .venv-tools/bin/uv
SET_UP = $(or $(PYTHON),python3) requirements/set_up.py $(if $(PYTHON),--python "$(PYTHON)")

.PHONY: help setup setup-core setup-bench setup-bench-media bench results demo docs test test-slow coverage lint types wheel lock clean

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 20

setup:  ## all that can be had on this machine: the core, test tools, Dataflow, search, TFX
	@$(SET_UP) full

setup-core:  ## the core only
	@$(SET_UP) core

$(UV):
	@$(SET_UP) tools

setup-bench: .venv-bench/.ready  ## PyTorch, the other side of the benchmarks (3 GB)

.venv-bench/.ready: requirements/bench.lock | $(UV)
	$(UV) venv --quiet --clear --python 3.11 .venv-bench
	$(UV) pip install --quiet --python .venv-bench/bin/python --requirement requirements/bench.lock
	@touch $@

setup-bench-media: .venv-bench-media/.ready  ## video2dataset, ffmpeg and librosa, for benchmarks/preprocess.py (6 GB)

.venv-bench-media/.ready: requirements/bench-media.lock | $(UV)
	$(UV) venv --quiet --clear --python 3.10 .venv-bench-media
	$(UV) pip install --quiet --python .venv-bench-media/bin/python --requirement requirements/bench-media.lock
	@touch $@

bench: setup-core setup-bench  ## the figures of the README, ours against PyTorch
	$(BIN)/python benchmarks/transformer_step.py
	$(BIN)/python benchmarks/full_model_step.py

results: setup-core  ## experiments on real data; DATA=a folder with audio/esc10, audio/fsdd, images/mnist_5k.csv.gz, lrc_ar; ONLY=lrc_ar for one
	$(BIN)/python -m experiments.run --data "$(DATA)" --output out/results $(if $(ONLY),--only $(ONLY))

demo: setup-core  ## from videos to a served prediction and a report; VIDEOS=/some/folder for your own
	$(BIN)/pemt demo --output $(OUT) $(if $(VIDEOS),--videos "$(VIDEOS)")

docs: setup  ## the documentation site: out/site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

test: setup  ## the tests, but for the slow ones
	@ci/test fast

test-slow: setup  ## the slow ones: whole pipelines, long trainings, fuzzing, other engines
	@ci/test slow

coverage: setup  ## which lines `make test` runs: out/coverage/index.html
	rm -f out/.coverage*
	PYTEST_ADDOPTS="--cov --cov-append --cov-report=" ci/test fast
	$(BIN)/coverage html --quiet
	@$(BIN)/coverage report --format=total | sed 's/.*/& % of the lines/'

lint: setup  ## ruff, hadolint, pyright for the types, oxlint for the JavaScript of the explore page
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/oxlint --deny-warnings
	$(BIN)/hadolint docker/Dockerfile
	$(BIN)/pyright --warnings

wheel: | $(UV)  ## the wheel and the source archive: out/dist
	$(UV) build --quiet --clear --out-dir out/dist

lock: | $(UV)  ## resolve both lock files anew from pyproject.toml
	$(UV) pip compile --quiet --upgrade pyproject.toml --extra tfx --extra dataflow --extra aws --extra search --extra umap --extra formats --extra dev --no-annotate --no-header \
		--universal --python-version 3.11 --output-file requirements/current.lock
	$(UV) pip compile --quiet --upgrade pyproject.toml --extra tfx --extra dataflow --extra aws --extra io --extra search --extra umap --extra formats --extra dev --no-annotate --no-header \
		--python-version 3.10 --python-platform x86_64-manylinux_2_28 --output-file requirements/legacy.lock

clean:  ## remove environments and outputs
	rm -rf .venv .venv-tfx .venv-tools out build *.egg-info
