# Every target sets itself up: it makes a virtual environment with the newest Python that works and installs what it
# needs, again only when pyproject.toml has changed.  `make help` lists the targets.
#
#   make test PYTHON=python3.12 VENV=.venv-3.12      another Python, in an environment of its own
#   make test ARGS="-k ridge"                        arguments for pytest; make bench ARGS="--only NIST" for the benchmarks
#   make test ARGS=--programs                        list the programs that each file compiles
#   make test JAXINFRA_CACHE=off                     compile everything anew; or another folder than ~/.cache/jaxinfra
#   make run-notebooks JOBS=2                        two at a time; the times that they print are then of no use

VENV ?= .venv
PYTHON ?= python3.13 python3.12 python3.11 python3
PROFILE ?= quick
ARGS ?=
JOBS ?= 1
BIN := $(VENV)/bin
PYTEST = $(BIN)/python -m pytest -n logical --maxprocesses 8

# Compiled programs are kept for later runs and for other clones.  The benchmarks measure compiling and do without.
JAXINFRA_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/jaxinfra
export JAXINFRA_CACHE
ifneq ($(JAXINFRA_CACHE),off)
notebooks run-notebooks: export JAX_COMPILATION_CACHE_DIR ?= $(JAXINFRA_CACHE)
notebooks run-notebooks: export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS ?= 0
notebooks run-notebooks: export JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES ?= -1
endif

# With the compilers for TPU and GPU but not the devices, JAX would look for those: keep it to the CPU.
ifneq ($(wildcard $(VENV)/.aot),)
export JAX_PLATFORMS ?= cpu
endif

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.SECONDARY:
.PHONY: help bench test test-all test-rest hostile core aot torch notebooks run-notebooks lint format clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' Makefile

bench: $(VENV)/.bench  ## fit, certify and time every family beside its peers (PROFILE=quick, standard or full)
	@echo "bench: profile $(PROFILE)"
	@$(BIN)/python -m bench $(PROFILE) $(ARGS)

test: $(VENV)/.test  ## the tests that show every model right
	@echo "test: every model, with $$($(BIN)/python --version); make test-all has the rest too"
	@$(PYTEST) -m "not slow" $(ARGS)

test-all: $(VENV)/.test  ## all tests
	@echo "test-all: the whole suite, with $$($(BIN)/python --version)"
	@$(PYTEST) $(ARGS)

test-rest: $(VENV)/.test  ## the tests that `make test` leaves out
	@echo "test-rest: what make test leaves out, with $$($(BIN)/python --version)"
	@$(PYTEST) -m slow $(ARGS)

hostile: $(VENV)/.test  ## 20000 random hostile fits, each certified (minutes); ARGS="--fits 500 --models svc,ols"
	@$(BIN)/python -m tests.hostile $(ARGS)

core: $(VENV)/.test  ## the little that the oldest Python has to show
	@echo "core: imports, pytrees and a fit of each engine, with $$($(BIN)/python --version)"
	@$(PYTEST) -m core $(ARGS)

aot: $(VENV)/.aot  ## install the TPU and CUDA compilers (1.5 GB), so that `make test` compiles for them too

torch: .venv-torch/.torch  ## install PyTorch, which `make bench` then races; TORCH=torch==2.13.0 for one version

notebooks: $(VENV)/.notebooks  ## open the notebooks in JupyterLab
	@echo "notebooks: pairing notebooks/*.py with .ipynb files and opening JupyterLab"
	@$(BIN)/jupytext --quiet --sync notebooks/*.py
	@$(BIN)/jupyter lab $$([ "$$(id -u)" != 0 ] || echo --allow-root) notebooks

run-notebooks: $(VENV)/.notebooks  ## execute every notebook from its script and write HTML to build/notebooks
	@mkdir -p build/notebooks
	@sockets=$$(mktemp -d) && trap 'rm -rf "$$sockets"' EXIT && \
	printf '%s\n' $(basename $(notdir $(wildcard notebooks/*.py))) | xargs -P $(JOBS) -I{} sh -c '\
	  echo "run-notebooks: executing {}" && \
	  $(BIN)/jupytext --quiet --to ipynb --output build/notebooks/{}.ipynb notebooks/{}.py && \
	  $(BIN)/jupyter nbconvert --log-level ERROR --KernelManager.transport=ipc --KernelManager.ip='$$sockets'/{} \
	    --to html --execute build/notebooks/{}.ipynb || \
	  { echo "run-notebooks: {} failed" >&2; exit 255; }'

lint: $(VENV)/.lint $(VENV)/.test  ## style and types
	@echo "lint: ruff and mypy"
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

format: $(VENV)/.lint  ## put the code into the house style
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

clean:  ## remove environments, caches and built files; benchmark results stay
	rm -rf .venv .venv-* build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis notebooks/*.ipynb
	find . -name __pycache__ -prune -exec rm -rf {} +

# A pyenv shim may exist and fail, so each candidate has to run, and has to be able to make environments.
$(BIN)/python:
	@for python in $(PYTHON); do \
	  if $$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "setup: making $(VENV) with $$($$python --version)"; \
	    exec $$python -m venv $(VENV); \
	  fi; \
	done; \
	echo "setup: none of these is a working Python 3.11 or newer with venv: $(PYTHON)" >&2; exit 1

# An environment of its own: PyTorch is a peer, never a dependency.  Its build for CPUs alone is a tenth of the size:
# PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
TORCH ?= torch
.venv-torch/.torch:
	@$(MAKE) --no-print-directory .venv-torch/bin/python VENV=.venv-torch
	@echo "setup: installing PyTorch into .venv-torch (minutes)"
	@.venv-torch/bin/python -m pip install -qq --disable-pip-version-check '$(TORCH)' numpy
	@touch $@

# $(VENV)/.test means: the extra `test` is installed.
$(VENV)/.%: pyproject.toml | $(BIN)/python
	@echo "setup: installing jaxinfra[$*] into $(VENV) (minutes the first time)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --editable '.[$*]'
	@touch $@
