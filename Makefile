# The menu. Every target sets up what it needs first; when all is in place that takes a tenth of a second, offline.

PYTHON  ?= python3
ARGS    ?=
WORKERS ?= auto
TRAIN   ?= yes

PY     := .venv/bin/python
SETUP  := $(PYTHON) -m scripts.setup
PYTEST := $(PY) -m pytest

# What the tests set up and run: TRAIN=no leaves out PyTorch (4.6 GB) and the tests that need it.
ifeq ($(TRAIN),no)
TEST_SETUP := $(SETUP)
UNIT_TESTS := not e2e and not train
REAL_TESTS := e2e and not train
else
TEST_SETUP := $(SETUP) --with-train
UNIT_TESTS := not e2e
REAL_TESTS := e2e
endif

.DEFAULT_GOAL := help
.PHONY: help demo devnet test unit simulate reliability fuzz hostile e2e lint format types vectors docs map bench setup train-deps lock clean

help: ## Show this menu
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo '  ARGS="…" is passed on: make demo ARGS="--dataset digits --keep", make test ARGS="-k budget"'

demo: ## Six hospitals train together under a ledger that none of them controls (under 3 minutes)
	@$(SETUP)
	@$(PY) -m examples.demo $(ARGS)

devnet: ## Start four validators and leave them running; `.venv/bin/fedledger devnet --help` for the rest
	@$(SETUP)
	@.venv/bin/fedledger devnet up $(ARGS)

# The end-to-end run is made also when a unit test has failed: one failure must not hide another.
test: ## All tests, then the short end-to-end run on real nodes (TRAIN=no: without PyTorch)
	@failed=; \
	$(MAKE) --no-print-directory unit || failed=unit; \
	$(MAKE) --no-print-directory e2e ARGS= || failed="$$failed e2e"; \
	if [ -n "$$failed" ]; then echo "make test: FAILED in:" $$failed; exit 1; fi; \
	echo "make test: passed, unit and e2e"

simulate: ## Replicas under crashes and a Byzantine proposer: ARGS="--seeds 10000 --jobs 2 --report simulation.json"
	@$(SETUP) --python-only
	$(PY) -m campaigns.simulation $(ARGS)

reliability: ## kill -9 at fifty moments on four real validators (15 minutes): ARGS="--kills 50 --seed 1 --report kills.json"
	@$(SETUP)
	$(PY) -m campaigns.reliability $(ARGS)

fuzz: ## Every decoder under mutated bytes: ARGS="--target all --seconds 60 --seed 7", ARGS="--engine atheris --seconds 60"
	@$(SETUP) --python-only --with-fuzz
	$(PY) -m campaigns.fuzz $(ARGS)

hostile: ## Hostile transactions against real nodes (ARGS="--count 10000"), or ARGS="--in-process --count 1000000 --jobs 2"
	@$(SETUP)
	$(PY) -m campaigns.hostile $(ARGS)

unit: ## Only the tests that start no real nodes
	@$(TEST_SETUP)
	$(PYTEST) -m "$(UNIT_TESTS)" -n $(WORKERS) --dist worksteal $(ARGS)

e2e: ## Only the end-to-end run: real CometBFT and Kubo nodes on loopback
	@$(TEST_SETUP)
	$(PYTEST) -m "$(REAL_TESTS)" $(ARGS)

lint: ## Check format and style
	@$(SETUP) --python-only
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .

format: ## Format, and repair what can be repaired
	@$(SETUP) --python-only
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

types: ## Check types, strictly
	@$(SETUP) --python-only
	.venv/bin/mypy

vectors: ## Write the test vectors under tests/vectors anew
	@$(SETUP) --python-only
	$(PYTEST) -m vectors --write-vectors $(ARGS)

docs: ## Write the generated parts of docs/ anew
	@$(SETUP) --python-only
	$(PY) scripts/gen_docs.py $(ARGS)

map: ## Draw the structure: packages, arrows, circles; ARGS="--json", "--root DIR", "--svg FILE" (docs/images/map.svg)
	@$(SETUP) --python-only
	@$(PY) -m scripts.map $(ARGS)

bench: ## Measure the ledger and the learning core on this machine
	@$(TEST_SETUP)
	$(PY) -m benchmarks $(ARGS)

setup: ## Only set up: .venv and .toolchain; ARGS=--check tells what is missing
	@$(SETUP) $(ARGS)

train-deps: ## Add PyTorch (4.6 GB on Linux; UV_TORCH_BACKEND=cpu saves most of it where its index is reachable)
	@$(SETUP) --with-train

# uv keeps what is locked unless asked: make lock ARGS=--upgrade
UV   = $(or $(shell command -v uv),.toolchain/uv/bin/uv)
LOCK = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate $(ARGS)

lock: ## Write requirements/*.txt anew from pyproject.toml and requirements/*.in
	@$(SETUP) --python-only
	$(LOCK) pyproject.toml --extra cli --extra node --extra demo requirements/dev.in -o requirements/dev.txt
	$(LOCK) pyproject.toml --extra cli --extra node -c requirements/dev.txt -o requirements/node.txt
	$(LOCK) pyproject.toml -c requirements/dev.txt -o requirements/base.txt
	$(LOCK) requirements/fuzz.in -o requirements/fuzz.txt
	$(LOCK) requirements/uv.in -o requirements/uv.txt
	$(LOCK) requirements/go.in -o requirements/go.txt

clean: ## Delete what tools left behind; `rm -rf .venv .toolchain` starts over altogether
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -path ./.venv -prune -o -path ./.toolchain -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
