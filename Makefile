# Everything a person or CI does with a clone. `make` alone says what there is.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
JOBS ?= 4
# The tiers that wait longest come first, so that short tests fill the end.
TIERS := $(wildcard tests/chaos tests/acceptance tests/integration tests/property tests/snapshot tests/unit)

.PHONY: help demo test tools check format bench bench-tui screenshots clean
.DELETE_ON_ERROR:

help:
	@echo "make demo    a site with two agents on this machine runs the traffic example (HEADLESS=1: no live view)"
	@echo "make test    install what tests need (as root), then every test (JOBS=4 files side by side)"
	@echo "make check   format, lint, types, import rules"
	@echo "make format  put the code into its format"
	@echo "make bench   the measurements in benchmarks/; make bench-tui: those of the full-screen program"
	@echo "make screenshots   the pictures of the README and docs/screen.md, anew, from the demo (some minutes)"
	@echo "make clean   remove what the other targets made in this folder"

# A new or changed pyproject.toml is installed again. Debian keeps venv's installer in a package of its own.
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "Winslow needs Python 3.11 or newer: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    test "$$(id -u)" = 0 && apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv; } || { \
	    echo "$(PYTHON) cannot make a virtual environment: install the package python3-venv" >&2; exit 1; }
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[site,dev]'
	@touch $@

.venv: $(STAMP)

demo: $(STAMP)
	$(BIN)/winslow demo $(if $(HEADLESS),--headless)

tools: $(STAMP)
	$(BIN)/python -m tests.services.installation

test: tools
	$(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(TIERS)

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy tests $(wildcard benchmarks/*.py)
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)
	@set -e; for measurement in $(wildcard benchmarks/*.py); do \
	    echo "== $$measurement"; $(BIN)/python $$measurement; done

screenshots: $(STAMP)
	$(BIN)/python -m tests.pictures

bench-tui: $(STAMP)
	$(BIN)/python benchmarks/tui.py

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
