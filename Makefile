# Two commands matter: `make demo` and `make test`. Both work from a fresh clone.
PYTHON ?= python3
PORT ?= 8000
HOST ?= 127.0.0.1
VENV := .venv
BIN := $(VENV)/bin
# constraints.txt pins torch, so that pip does not choose a build with gigabytes of CUDA libraries.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
SOURCES := pyproject.toml clients/python/pyproject.toml constraints.txt $(wildcard setup.py tokenspeed/native/*)

# Tests on every core; a worker without any left takes some of another's. PYTEST adds options.
# Bytecode is written whatever the environment says: tests start a hundred processes of ours.
TESTS := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -m "not gpu" --numprocesses auto --dist worksteal
# A Ray cluster is a dozen processes with deadlines of their own: it gets the machine to itself.
ALONE := tests/service/test_ray.py
# Tests of GPU code, whose lines are not counted: kernels on the interpreter take long to watch.
UNCOVERED := --ignore tests/tokenspeed/kernels --ignore-glob '*/backends/test_cuda*' \
	--ignore-glob '*/engines/test_compiled.py' --ignore tests/tokenspeed/native

.PHONY: help demo test coverage docs test-gpu lint python-lint kernels generate format web-types instructions clean

help:
	@echo "make demo [PORT=8001]  install, start the service, print its address"
	@echo "make test              install what the tests need, run all of them"
	@echo "make lint              ruff, lint-imports, mypy, tsc, and whether what is generated is fresh"
	@echo "make generate          the protocol's document and JavaScript types, from the dataclasses"
	@echo "make coverage          the tests, and which lines outside GPU code they did not reach"
	@echo "make docs              the documentation, in build/site"
	@echo "make test-gpu          the tests that need a CUDA GPU"
	@echo "make kernels           compile what tests look at for GPUs anew, after kernels changed"
	@echo "make instructions      instructions of a CPU step against what was kept (valgrind)"

demo: $(VENV)/.demo
	$(BIN)/tokenspeed serve --host $(HOST) --port $(PORT)

test: $(VENV)/.test web/node_modules/.package-lock.json
	sh tests/install_chromium.sh
	sh tests/install_firefox.sh
	sh tests/install_espeak.sh
	sh tests/install_redis.sh
	sh tests/install_helm.sh
	$(TESTS) --ignore $(ALONE) $(PYTEST)
	$(BIN)/python -m pytest -m "not gpu" $(ALONE)

coverage: $(VENV)/.test web/node_modules/.package-lock.json
	sh tests/install_chromium.sh
	sh tests/install_firefox.sh
	sh tests/install_espeak.sh
	sh tests/install_redis.sh
	sh tests/install_helm.sh
	$(TESTS) $(UNCOVERED) --cov --cov-report term $(PYTEST)

test-gpu: $(VENV)/.test
	$(BIN)/python -m pytest -m gpu $(PYTEST)

lint: $(VENV)/.test $(VENV)/.lint
	$(MAKE) --no-print-directory --jobs 2 python-lint web-types

python-lint:
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/lint-imports
	$(BIN)/python -m service.wire.generate --check
	$(BIN)/mypy

# Nothing is loaded from elsewhere, neither now nor when the pages are read.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

instructions: | $(VENV)/bin/python
	$(BIN)/python -m tokenspeed.bench.engines.instructions --check benchmarks/results/instructions.json

# What kernels take on GPUs, by compiling those that tests look at: to be kept after they changed.
COMPILED := TRITON_INTERPRET=0 $(BIN)/python -m tokenspeed.bench.engines.compiled --decode \
	--kept benchmarks/results/compiled.json --update
kernels: $(VENV)/.test
	rm -f benchmarks/results/compiled.json
	$(COMPILED) --targets sm_90 --persistent
	$(COMPILED) --targets sm_80,sm_100,gfx942 --models default-40m:int8,llama-3-8b:int4 --one-each

generate: $(VENV)/.lint
	$(BIN)/python -m service.wire.generate

format: $(VENV)/.lint
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

web-types: web/node_modules/.package-lock.json
	cd web && npx --no-install tsc -p . && npx --no-install tsc -p tsconfig.overlay.json

web/node_modules/.package-lock.json: web/package.json web/package-lock.json
	npm ci --prefix web --no-audit --no-fund --loglevel=error

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(SOURCES) | $(VENV)/bin/python
	@echo "Installing (a few minutes the first time) ..."
	$(PIP) --editable clients/python --editable .
	@touch $@

# simuleval pins old tools that its scorer does not need; what that needs is in the extra.
$(VENV)/.test: $(SOURCES) | $(VENV)/bin/python
	@echo "Installing what the tests need (a few minutes the first time) ..."
	$(PIP) --editable clients/python --editable '.[test]'
	$(PIP) --no-deps simuleval==1.1.4
	@touch $@

$(VENV)/.docs: $(SOURCES) | $(VENV)/bin/python
	$(PIP) --editable '.[docs]'
	@touch $@

$(VENV)/.lint: $(SOURCES) | $(VENV)/bin/python
	$(PIP) --editable clients/python --editable '.[lint]'
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info web/node_modules .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
