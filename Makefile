# Syntype: every target sets up what it needs first. `make help` lists them.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
OUT ?= out
# Test processes: one for each core.
PROCESSES ?= auto

BIN := $(VENV)/bin
# The stamp's name holds a checksum of what defines the environment, so that a change there, and nothing else, installs again.
STAMP := $(VENV)/.installed-$(shell cat pyproject.toml constraints.txt | cksum | cut -d ' ' -f 1)
# peer_*.py are other people's programs made to run beside ours, index.py writes the index of the pages.
BENCHMARKS := $(sort $(filter-out benchmarks/peer_% benchmarks/index.py,$(wildcard benchmarks/*.py)))

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-browser test-slow docs lint format texts bench clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | while IFS="$$(printf '\t')" read -r name text; do printf '  make %-12s %s\n' "$$name" "$$text"; done
	@echo
	@echo '  Python: $(PYTHON)   environment: $(VENV)   (override with PYTHON=... VENV=...)'
	@for script in $(BENCHMARKS); do echo "  benchmark: $$script"; done

$(BIN)/python:
	"$(PYTHON)" -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Syntype needs Python 3.11 or newer; this is " + sys.version + ". Use: make PYTHON=/path/to/python3.11 ...")'
	"$(PYTHON)" -m venv "$(VENV)"
	"$(BIN)/python" -m pip install -q 'pip>=25'  # the one that comes with Python 3.11 takes half as long again

$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	"$(BIN)/python" -m pip install -c constraints.txt -e '.[dev]'
	@rm -f "$(VENV)"/.installed-*
	@touch "$@"

setup: $(STAMP) ## a virtual environment with Syntype and everything that the tests need

demo: $(STAMP) ## the whole route on the drawn reef, into out/demo (minutes on 2 cores)
	"$(BIN)/syntype" demo --out "$(OUT)/demo"

# A process a core, with one thread each: small networks gain little from a second one. Whoever is done early takes over tests of the other.
# Tests that ask for more threads let them sleep where they have nothing to do; otherwise they would keep the cores from the other processes.
test: $(STAMP) ## the fast tests
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive "$(BIN)/python" -m pytest -n $(PROCESSES) --dist worksteal --durations=10 --durations-min=5

# The tests of a file share a server and a browser: they stay in one process.
test-browser: $(STAMP) ## the Studio in Chromium, where there is one
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive "$(BIN)/python" -m pytest -n auto --dist loadfile -m slow tests/apps/test_web_browser*.py tests/apps/test_web_walk.py

test-slow: $(STAMP) ## the tests that take minutes
	"$(BIN)/python" -m pytest -m slow

docs: $(STAMP) ## the documentation as a site, into out/docs; a warning is an error
	"$(BIN)/sphinx-build" -n -W --keep-going -q docs "$(OUT)/docs" -d "$(OUT)/docs-cache"
	@echo "open $(OUT)/docs/index.html"

lint: $(STAMP) ## ruff (rules and format) and mypy
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check .
	"$(BIN)/mypy"

format: $(STAMP) ## let ruff format everything
	"$(BIN)/ruff" format .
	"$(BIN)/ruff" check --fix .

texts: $(STAMP) ## bring the catalogue of the Studio's texts up to date, and tell what is not translated
	"$(BIN)/python" -m syntype.apps.web.texts

bench: $(STAMP) ## every script in benchmarks/, one after the other
	@for script in $(BENCHMARKS); do echo "== $$script"; "$(BIN)/python" "$$script" || exit 1; done
	"$(BIN)/python" benchmarks/index.py

clean: ## remove caches and the environment; results in out/ stay
	rm -rf "$(VENV)" .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
