# Two commands do everything on a fresh machine: `make demo` and `make test`. Both set up what they need first.
PYTHON ?= python3
OUT ?= out/demo
DATA ?= ../shared
VENV := .venv
VENV_B := .venv-b
TOOLS := .venv-tools
UV := $(TOOLS)/bin/uv
BIN := $(VENV)/bin
LOCK := requirements/stack-a.lock
LOCK_B := requirements/stack-b.lock
# Tracing, most of a test's time, keeps one core busy. The tests of a file stay together, for what they share.
TWO_AT_A_TIME := --numprocesses 2 --dist loadfile

.PHONY: help setup setup-core setup-b setup-bench setup-bench-media bench results demo docs test test-fast test-b lint lock clean

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 20

setup: $(VENV)/.full  ## everything: the core, TFX, Dataflow, tensorflow-io, test tools
setup-core: $(VENV)/.core  ## the core only (no TFX)
setup-b: $(VENV_B)/.core  ## stack B: Python 3.11 with current TensorFlow and Keras, without TFX

$(UV):
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet --disable-pip-version-check uv

$(VENV)/.python: .python-version | $(UV)
	$(UV) venv --quiet --clear --seed --python "$$(cat .python-version)" $(VENV)
	@touch $@

$(VENV)/.core: $(VENV)/.python $(LOCK) setup.py
	$(UV) pip install --quiet --python $(BIN)/python --constraint $(LOCK) --editable .
	@touch $@

# Our own package comes last: its `tfx` command stands in the place of TFX's and adds `pipeline run`.
$(VENV)/.full: $(VENV)/.python $(LOCK) setup.py
	$(UV) pip install --quiet --python $(BIN)/python --requirement $(LOCK)
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --reinstall-package pemt-tf --editable .
	@touch $@ $(VENV)/.core

$(VENV_B)/.core: $(LOCK_B) setup.py | $(UV)
	$(UV) venv --quiet --clear --seed --python 3.11 $(VENV_B)
	$(UV) pip install --quiet --python $(VENV_B)/bin/python --constraint $(LOCK_B) --editable '.[dev,search]'
	@touch $@

setup-bench: .venv-bench/.ready  ## PyTorch, the other side of the benchmarks (3 GB)

.venv-bench/.ready: requirements/bench.lock | $(UV)
	$(UV) venv --quiet --clear --python 3.11 .venv-bench
	$(UV) pip install --quiet --python .venv-bench/bin/python --requirement requirements/bench.lock
	@touch $@

setup-bench-media: .venv-bench-media/.ready  ## video2dataset, ffmpeg and librosa, for benchmarks/preprocess.py (6 GB)

.venv-bench-media/.ready: requirements/bench-media.lock | $(UV)
	$(UV) venv --quiet --clear --python "$$(cat .python-version)" .venv-bench-media
	$(UV) pip install --quiet --python .venv-bench-media/bin/python --requirement requirements/bench-media.lock
	@touch $@

bench: $(VENV)/.core setup-bench  ## the figures of the README, ours against PyTorch
	$(BIN)/python benchmarks/transformer_step.py
	$(BIN)/python benchmarks/full_model_step.py

results: $(VENV)/.core  ## experiments on real data; DATA=a folder with audio/esc10, audio/fsdd, images/mnist_5k.csv.gz
	$(BIN)/python -m experiments.run --data "$(DATA)" --output out/results

demo: $(VENV)/.core  ## from videos to a served prediction and a report; VIDEOS=/some/folder for your own
	$(BIN)/pemt demo --output $(OUT) $(if $(VIDEOS),--videos "$(VIDEOS)")

# Some packages ask `lscpu` or `uname` as they are imported; pdoc would keep them from it, and warn.
docs: $(VENV)/.full  ## API reference: out/api/index.html
	PDOC_ALLOW_EXEC=1 TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/pdoc --docformat google --output-directory out/api pemt_tf beam_jobs pipeline

test: $(VENV)/.full  ## all tests
	$(BIN)/python -m pytest $(TWO_AT_A_TIME)

test-fast: $(VENV)/.full  ## all but the slow tests
	$(BIN)/python -m pytest $(TWO_AT_A_TIME) -m 'not slow'

test-b: $(VENV_B)/.core  ## the core tests on stack B
	$(VENV_B)/bin/python -m pytest $(TWO_AT_A_TIME) -m 'not tfx and not slow'

lint: $(VENV)/.full  ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

lock: | $(UV)  ## resolve both lock files anew from setup.py
	$(UV) pip compile --quiet --upgrade setup.py --extra tfx --extra dataflow --extra io --extra search --extra umap --extra dev --no-annotate --no-header \
		--python-version 3.10 --python-platform x86_64-manylinux_2_28 --output-file $(LOCK)
	$(UV) pip compile --quiet --upgrade setup.py --extra tfx --extra dataflow --extra search --extra umap --extra dev --no-annotate --no-header \
		--python-version 3.11 --python-platform x86_64-manylinux_2_39 --output-file $(LOCK_B)

clean:  ## remove environments and outputs
	rm -rf $(VENV) $(VENV_B) $(TOOLS) out build *.egg-info
