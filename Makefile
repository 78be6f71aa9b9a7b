# Everything a contributor runs. `make setup` needs Python 3.11 or newer and nothing else; pick an
# interpreter with `make setup PYTHON=python3.12`.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed
PEERS := benchmarks/.peers
LOCK_OPTIONS := --universal --python-version 3.11 --generate-hashes --no-header --no-annotate
LOCK_FILES := '*.lock' '*lock.json' '*lock.toml' 'requirements*.txt'

export UV_PYTHON_DOWNLOADS := never
# Without it pyright asks the network whether a newer pyright exists.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.PHONY: help setup lock lint test quick coverage mutants demo figures acceptance bench clean
.DEFAULT_GOAL := help

help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## Install exactly what the lock names into .venv.

# uv comes from the lock too, so that every byte installed here has a hash on record.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	"unspool needs Python 3.11 or newer; name one: make setup PYTHON=python3.12")'
	[ -x $(BIN)/pip ] || $(PYTHON) -m venv --clear .venv
	awk '/^uv==/ { on = 1 } on { print } on && !/\\$$/ { exit }' requirements.lock > .venv/uv.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.txt
	$(BIN)/uv pip sync --quiet --require-hashes --compile-bytecode requirements.lock
	$(BIN)/uv pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

lock: $(STAMP) ## Write requirements.lock anew; add UPGRADE=--upgrade for newer versions.
	$(BIN)/uv pip compile --quiet $(LOCK_OPTIONS) $(UPGRADE) --all-extras pyproject.toml \
		-o requirements.lock

lint: $(STAMP) ## Check style, format, types and spelling, and that no lock file names an index.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/codespell $$(git ls-files)
	@! git grep -n '://' -- $(LOCK_FILES)

test: $(STAMP) ## Run the tests that are quick enough for every change.
	$(BIN)/pytest -n 2 --dist loadgroup -m "not slow"

quick: $(STAMP) ## Run what holds every estimator to its mean; this takes a minute.
	$(BIN)/pytest -n 2 --dist loadgroup tests/test_exact_means.py tests/test_structure.py

coverage: $(STAMP) ## Run them with a record of the lines that each runs.
	$(BIN)/pytest -n 2 --dist loadgroup -m "not slow" --cov --cov-context=test \
		--cov-report=term-missing:skip-covered --junit-xml=.tests.xml

mutants: $(STAMP) ## Make mistakes in a copy of the library, and see which the tests notice.
	@[ -f .tests.xml ] || $(MAKE) coverage
	$(BIN)/python benchmarks/mutants.py benchmarks/results/mutants.json

demo: $(STAMP) ## Reproduce the Lorenz figure.
	$(BIN)/unspool reproduce lorenz

# Those of runs/NAME are drawn of what is there, else of docs/data; LONG=1 measures for an hour more.
figures: $(STAMP) ## Draw the pictures of the docs anew.
	for name in annealing experiments growth lag smoothing bouncing_ball $(if $(LONG),tuning learned_optimizers); do \
		$(BIN)/python docs/$$name.py || exit 1; done

acceptance: $(STAMP) ## Run the slow tests, and check the published numbers; this takes long.
	$(BIN)/pytest -n 2 --dist loadgroup -m slow
	$(BIN)/pytest benchmarks/acceptance

bench: $(STAMP) $(PEERS) ## Measure what estimates cost, side by side with evosax where it installs.
	$(BIN)/python benchmarks/run.py benchmarks/results/cpu.json \
		$$([ -x $(PEERS)/bin/python ] && echo --peers $(PEERS)/bin/python)
	$(BIN)/python benchmarks/swimmer.py benchmarks/results/swimmer.json
	$(BIN)/python benchmarks/false_alarms.py benchmarks/results/false_alarms.json
	$(BIN)/python benchmarks/edges.py benchmarks/results/edges.json
	$(BIN)/python benchmarks/directions.py benchmarks/results/directions.json

# In an environment of its own: what it needs is nobody else's business.
$(PEERS): $(STAMP)
	-$(BIN)/uv venv --quiet --clear $@ && $(BIN)/uv pip install --quiet -p $@/bin/python evosax==0.3.2 \
		|| rm -rf $@

clean: ## Remove what the other targets made.
	rm -rf .venv $(PEERS) .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
