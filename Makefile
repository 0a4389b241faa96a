# PYTHON=/path/to/python3.12 chooses the interpreter of a new .venv; otherwise the first that runs and is new enough.
PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check
PACKAGES := schemas models streams

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test test-all test-kafka test-live test-browser faults faults-ci soak fuzz mutations check lint types imports \
	doctest coverage contracts test-contracts bench bench-quality bench-speed bench-kafka bench-stream bench-effect bench-limits \
	bench-latency bench-scale docs lock build clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' Makefile

# A set-up that stopped half-way leaves .incomplete, and the next one starts from an empty environment.
$(STAMP): requirements.lock pyproject.toml
	@if [ -e $(VENV)/.incomplete ] || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		found=; for candidate in $(or $(PYTHON),python3.13 python3.12 python3.11 python3); do \
			if $$candidate -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; \
			then found=$$candidate; break; fi; \
		done; \
		if [ -z "$$found" ]; then \
			echo 'Rapport needs Python 3.11 or newer with its venv module, and none was found.' >&2; \
			echo 'Install one (Debian, Ubuntu: apt-get install python3 python3-venv),' >&2; \
			echo 'or name yours: make PYTHON=/path/to/python3.12 ...' >&2; \
			exit 1; \
		fi; \
		echo "Setting up $(VENV) with $$($$found --version): about half a minute"; \
		$$found -m venv --clear $(VENV); \
	fi
	@touch $(VENV)/.incomplete
	@$(PIP) install --quiet --require-hashes --only-binary :all: -r requirements.lock
	@$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@rm $(VENV)/.incomplete
	@touch $@

install: $(STAMP) ## set up .venv from the lock file; does nothing when it is up to date

demo: $(STAMP) ## run the demonstration
	@$(BIN)/rapport demo

test: $(STAMP) ## run the fast tests, a file to a process, a process to a core
	@$(BIN)/python -m pytest -n auto --dist loadfile

test-all: $(STAMP) ## run every test, the slow and the live ones too
	@$(BIN)/python -m pytest -m 'not browser'
	@$(BIN)/python -m pytest -m browser  # apart: playwright leaves an event loop running in its process

test-kafka: $(STAMP) ## run the tests on Apache Kafka (Java 17 and Maven; RAPPORT_KAFKA=host:port takes a given cluster)
	@RAPPORT_REQUIRE_KAFKA=1 $(BIN)/python -m pytest -m kafka

test-live: $(STAMP) ## run the same tests of the stream on the embedded broker and store (needs nothing else)
	@$(BIN)/python -m pytest -m 'live and not kafka and not browser'

test-browser: $(STAMP) ## drive the dashboard in a real Chromium (Debian: apt-get install chromium), with screenshots
	@RAPPORT_REQUIRE_BROWSER=1 $(BIN)/python -m pytest -m browser -s

SEED ?= 1
MINUTES ?= 30
STACK ?= kafka

faults: $(STAMP) ## put a running installation through every fault (SEED=n, STACK=kafka or embedded)
	@$(BIN)/python -m tests.live.faults.run --stack $(STACK) --seed $(SEED)

faults-ci: $(STAMP) ## put it through eight of them, one seed, in at most ten minutes
	@timeout 600 $(BIN)/python -m tests.live.faults.run --stack kafka --seed $(SEED) --only ci --times 1 --rate 150 --dry

soak: $(STAMP) ## put it through faults at random (MINUTES=30 SEED=n)
	@$(BIN)/python -m tests.live.faults.run --stack $(STACK) --seed $(SEED) --minutes $(MINUTES)

INPUTS ?= 20000

fuzz: $(STAMP) ## try bytes at random on every reader (INPUTS=n for each)
	@RAPPORT_FUZZ=$(INPUTS) $(BIN)/python -m pytest -n auto tests/schemas/test_fuzz.py tests/laws/test_fuzz_state.py --durations=0

mutations: $(STAMP) ## take each safeguard out: the tests must notice
	@$(BIN)/python -m tests.live.faults.safeguards

check: lint types imports doctest coverage ## run everything that must hold before a commit

lint: $(STAMP) ## check style and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(STAMP) ## check types, strictly
	$(BIN)/mypy

imports: $(STAMP) ## check that imports point one way
	$(BIN)/lint-imports

# pytest exits with 5 where it finds no doctest, which is no failure here.
doctest: $(STAMP) ## run the examples in the docstrings
	$(BIN)/python -m pytest -q --doctest-modules $(PACKAGES) || [ $$? -eq 5 ]

coverage: $(STAMP) ## run the fast tests and report what they cover
	$(BIN)/python -m pytest --cov --cov-report=term-missing:skip-covered

contracts: $(STAMP) ## write docs/contracts anew from schemas/
	@mkdir -p docs/contracts
	@$(BIN)/rapport contracts > docs/contracts/asyncapi.json
	@rm -rf docs/contracts/json-schema && $(BIN)/rapport contracts --json-schema docs/contracts/json-schema

test-contracts: $(STAMP) ## validate docs/contracts with AsyncAPI's own parser (Node 18 and npm; kcat)
	@cd tests/contracts && npm ci --ignore-scripts --no-audit --no-fund --silent
	@RAPPORT_REQUIRE_CONTRACTS=1 $(BIN)/python -m pytest tests/contracts

# What Rapport is compared with pins other versions than the lock file does (pydantic), so it has an environment of its own,
# in which everything else is held to the locked versions.
PEERS := .venv-peers

$(PEERS)/.installed: requirements.lock pyproject.toml $(STAMP)
	@echo 'Setting up $(PEERS): about half a minute'
	@$(BIN)/python -m venv --clear $(PEERS)
	@sed -E 's/ *\\$$//; /^ +--hash/d; s/\[[^]]*\]==/==/; /^pydantic/d' requirements.lock > $(PEERS)/constraints.txt
	@$(PEERS)/bin/python -m pip --disable-pip-version-check install --quiet -c $(PEERS)/constraints.txt -e '.[embedded,peers]'
	@touch $@

BENCH ?=

bench: $(PEERS)/.installed ## measure the speed beside Faust, Quix Streams and bare loops (BENCH='--only decode --rounds 1'): an hour
	@$(PEERS)/bin/python -m benchmarks.throughput $(BENCH)

bench-quality: $(STAMP) ## measure the quality of the models
	@$(BIN)/python -m benchmarks.quality

bench-speed: $(STAMP) ## measure throughput and latency
	@$(BIN)/python -m benchmarks.speed

bench-kafka: $(STAMP) ## measure transactions on Apache Kafka
	@$(BIN)/python -m tests.live.measure

bench-stream: $(STAMP) ## measure the whole pipeline on Apache Kafka
	@$(BIN)/python -m benchmarks.stream

bench-effect: $(STAMP) ## measure whether the intervals of effects hold the true effect
	@$(BIN)/python -m benchmarks.effect

bench-limits: $(STAMP) ## measure limits under pressure on Apache Kafka: half an hour and more (--scale: see its --help)
	@$(BIN)/python -m benchmarks.limits

bench-latency: $(STAMP) ## measure from an event to its trigger on Apache Kafka, by load: five minutes
	@$(BIN)/python -m benchmarks.latency

bench-scale: $(STAMP) ## measure cost against size: customers, products, campaigns, partitions, bytes, recovery (--scale: see its --help)
	@$(BIN)/python -m benchmarks.scale

docs: $(STAMP) ## build the site of docs/ into site/; broken links are errors
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

# UPGRADE=1 takes the newest versions that pyproject.toml allows; otherwise the locked ones stay where they can.
lock: ## write requirements.lock anew from pyproject.toml
	@command -v uv >/dev/null || { echo 'make lock needs uv: pip install uv' >&2; exit 1; }
	uv pip compile pyproject.toml --quiet --extra embedded --extra docs --extra dev --universal --python-version 3.11 \
		--generate-hashes --no-strip-extras --no-emit-index-url --no-header $(if $(UPGRADE),--upgrade) --output-file requirements.lock
	uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --no-strip-extras \
		--no-emit-index-url --no-header -c requirements.lock --output-file deploy/requirements.lock

# The wheel's own list of dependencies is what is tested, so they are resolved anew, held to the locked versions.
build: $(STAMP) ## build the wheel and try it in an environment of its own
	@rm -rf build dist && mkdir -p build
	$(BIN)/python -m hatchling build
	@sed -E 's/ *\\$$//; /^ +--hash/d; s/\[[^]]*\]==/==/' requirements.lock > build/constraints.txt
	@$(BIN)/python -m venv build/venv
	@build/venv/bin/python -m pip --disable-pip-version-check install --quiet --only-binary :all: \
		-c build/constraints.txt dist/*.whl
	@cd build && venv/bin/rapport --version

clean: ## remove everything that the other targets made
	rm -rf $(VENV) $(PEERS) build dist site rapport-out .coverage .coverage.* htmlcov .hypothesis .*_cache *.egg-info
	find $(PACKAGES) tests benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} +
