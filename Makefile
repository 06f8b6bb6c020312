# Needs make and Python 3.11 to 3.13; everything else is set up in .venv from the locks in requirements/.
# `make help` says what there is. PYTHON=python3.12 picks an interpreter, ARGS="-k quota" goes to pytest.
# SYNCD_MAJORS=16,17 picks the PostgreSQLs beside 18 that the tests run on; SYNCD_HISTORIES=3000 plays more histories.

PYTHON ?= python3
WORKERS ?= 2
ARGS ?=
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: demo test lint check bench sabotage lock clean help venv moved

help: ## say what there is
	@echo "make demo    a minute of syncd at work: its own Postgres as the CRM, a simulated wolkvox, the real daemon"
	@echo "make test    the test suite"
	@echo "make lint    style: ruff, and whether the code is formatted"
	@echo "make check   lint, types, import contracts, tests: all that CI runs"
	@echo "make bench   speed and memory against psql | curl"
	@echo "make sabotage puts each of the deliberate bugs into a copy, and sees whether the tests catch it"
	@echo "make venv    set up .venv for work on the code"
	@echo "make lock    resolve the dependencies anew, into requirements/"
	@echo "make clean   remove .venv and the caches"

demo: .venv/demo.stamp
	@$(BIN)/syncd demo

test: .venv/dev.stamp
	$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

check: lint
	$(BIN)/python -m mypy
	$(BIN)/lint-imports
	$(MAKE) --no-print-directory test

bench: .venv/dev.stamp
	@$(BIN)/python -m bench

sabotage: .venv/dev.stamp
	@$(BIN)/python -m tests.sabotage --all --jobs $(WORKERS)

venv: .venv/dev.stamp

# A virtual environment holds absolute paths: one that was copied or moved with its checkout is made anew.
ifneq ($(shell cat .venv/made-in 2>/dev/null),$(CURDIR))
.venv/made-in: moved
endif
.venv/made-in:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || { \
	    echo "syncd needs Python 3.11, 3.12 or 3.13, and '$(PYTHON)' is none: name one with 'make PYTHON=python3.11'." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	    if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null; \
	    else \
	        echo "Python's venv module is missing: install it with 'sudo apt-get install python3-venv', then run make again." >&2; exit 1; \
	    fi; }
	@rm -rf .venv
	@$(PYTHON) -m venv .venv
	@printf '%s\n' "$(CURDIR)" > $@

# With hashes and wheels only: what is installed is what was locked, and nothing is built but the checkout itself.
define install
	@echo "Setting up .venv from requirements/$(1).txt ..."
	@$(PIP) install --quiet --require-hashes --only-binary :all: -r requirements/$(1).txt
	@$(PIP) install --quiet --no-deps --no-index --no-build-isolation -e .
endef

.venv/demo.stamp: requirements/demo.txt pyproject.toml .venv/made-in
	$(call install,demo)
	@touch $@

.venv/dev.stamp: requirements/dev.txt pyproject.toml .venv/made-in
	$(call install,dev)
	@touch .venv/demo.stamp $@

# dev holds everything; the other two are held to its versions.
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
    --no-config --no-header --no-annotate --no-emit-index-url --no-emit-find-links pyproject.toml
lock: .venv/dev.stamp
	$(COMPILE) --upgrade --extra demo --group build --group dev -o requirements/dev.txt
	$(COMPILE) --upgrade --extra demo --group build -c requirements/dev.txt -o requirements/demo.txt
	$(COMPILE) --upgrade -c requirements/dev.txt -o requirements/runtime.txt
	@! grep -n '://\|file:\| /' requirements/*.txt || { echo "A lock names an address or a path." >&2; exit 1; }

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
