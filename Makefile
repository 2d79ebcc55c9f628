PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
HOURS ?= 0.4

.DEFAULT_GOAL := help
.PHONY: help setup ablation train evaluate test test-all test-cuda test-faults engines test-engines test-hydra14 bench-gpu results-gpu docs pictures lint clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: $(VENV)/.ready ## make .venv with everything in it, pinned by constraints.txt

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(v < (3, 11) and f"Python 3.11 or newer is needed, {sys.executable} is {v[0]}.{v[1]}; set PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

ablation: setup ## train a small real ablation on CIFAR-10 and print its table
	$(BIN)/cbam-ablate train study=quick $(ARGS)

train: setup ## one run: make train ARGS="depth=18 placement=block"
	$(BIN)/cbam-ablate train $(ARGS)

evaluate: setup ## a stored run on the test set: make evaluate ARGS="run=KEY"
	$(BIN)/cbam-ablate evaluate $(ARGS)

test: setup ## the quick tests, at most 5 minutes on 2 cores
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-all: setup ## with the slow ones: kills, real engines, browser, TeX
	$(BIN)/python -m pytest -n 3 --dist worksteal -m 'not engines and not cuda'

test-cuda: setup ## what is for CUDA: on a GPU, or where PyTorch has none on one made of the CPU
	PYTHONPATH="$(CURDIR)/tests/cuda/pretend" $(BIN)/python -m pytest -n 2 --dist worksteal -m cuda tests/cuda

test-faults: setup ## kills, stops, wrong clocks, full disks, odd files: at most 20 minutes
	tests/packages.sh mkfs.exfat exfatprogs exfat-fuse
	$(BIN)/python -m pytest -n 2 -m faults -rs tests/faults

engines: $(VENV)/.engines ## joblib, submitit, Slurm, Ray and Hydra 1.4, which test-engines needs
	tests/packages.sh slurmctld slurm-wlm munge

$(VENV)/.engines: $(VENV)/.ready tests/hydra14.sh
	$(BIN)/python -m pip install --quiet --no-build-isolation --constraint constraints.txt --editable '.[joblib,slurm,ray]'
	tests/hydra14.sh make
	@touch $@

test-engines: $(VENV)/.engines ## the same study on joblib, submitit, a real Slurm and a real Ray, on Hydra 1.4 too
	tests/packages.sh slurmctld slurm-wlm munge
	$(BIN)/python -m pytest -n 3 --dist loadfile -m engines -rs tests/engines

test-hydra14: setup ## the quick tests and all about Hydra on its 1.4, at most 10 minutes on 2 cores
	tests/hydra14.sh

bench-gpu: setup ## every figure that needs a GPU, in 10 minutes, to benchmarks/gpu.json
	$(BIN)/python benchmarks/bench_gpu.py $(ARGS)

results-gpu: setup ## the studies of results/ that want a GPU, for HOURS, going on next time
	$(BIN)/python results/gpu.py --hours $(HOURS) $(ARGS)

docs: setup ## the documentation, to site/
	$(BIN)/python -m pip install --quiet --no-build-isolation --constraint constraints.txt --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

pictures: setup ## the README's pictures, by Chromium
	$(BIN)/python docs/pictures.py

lint: setup ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean: ## remove .venv and caches; outputs/ stays
	rm -rf $(VENV) .venv-hydra14 site .mypy_cache .ruff_cache .pytest_cache build dist
