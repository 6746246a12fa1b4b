# `make demo` trains, evaluates and predicts; `make test` lints, type-checks and tests.
# Both make .venv when it is missing and do nothing twice.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := workdirs/demo
FAULTS ?= 20
SEED ?= 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help install demo lint test test-slow test-lowest slurm-check chaos clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 12

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "vit_jax needs Python >= 3.11; this is $$($(PYTHON) --version). Say PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

install: $(VENV)/.installed  ## make .venv and install vit_jax with its pinned dependencies

demo: install  ## train a ViT on handwritten digits, evaluate it, predict a few pictures
	$(BIN)/vit-jax train --config=configs/digits.py --workdir=$(DEMO)
	$(BIN)/vit-jax evaluate --workdir=$(DEMO)
	$(BIN)/vit-jax predict --checkpoint=$(DEMO) docs/digits/*.png
	@echo "pictures: $(DEMO)/curves.png (loss and accuracy) and $(DEMO)/predictions.png (sample predictions)"

lint: $(VENV)/.installed-dev  ## ruff (lint and format), mypy and shellcheck
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/shellcheck launch/*.sh launch/slurm.sbatch tests/launch/*.sh

test: lint  ## lint, types and the test suite
	$(BIN)/pytest -n 2 -m 'not slow'

test-slow: $(VENV)/.installed-dev  ## the tests that take over a minute each
	$(BIN)/pytest -m slow

test-lowest:  ## the test suite with the oldest versions that pyproject.toml allows, in .venv-lowest
	test -x .venv-lowest/bin/python || $(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --constraint constraints-lowest.txt --editable '.[dev]'
	.venv-lowest/bin/pytest -n 2 -m 'not slow'

slurm-check: install  ## launch/slurm.sbatch on a SLURM of one node, started for it (Debian, root)
	tests/launch/slurm_check.sh $(BIN)

chaos: install  ## train on 1, 2 and 4 processes under FAULTS random faults; count what is lost
	PYTHONPATH=tests $(BIN)/python -m chaos.run --faults $(FAULTS) --seed $(SEED)

clean:  ## remove the environment, the caches and the demo's run
	rm -rf $(VENV) .venv-lowest .cache workdirs
