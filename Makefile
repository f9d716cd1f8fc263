# `make check` is what CI runs before the tests. PYTHON is the interpreter of the project's
# virtual environment; without one the tools are taken from the path.
PYTHON ?= $(if $(wildcard .venv/bin/python),.venv/bin/python,python3)
SCRIPTS := .ci/run $(wildcard deploy/*.sh deploy/container/*.sh deploy/mediamtx/*.sh)
# Settings that no .env of yours changes.
export ENV_FILE := /dev/null

.DEFAULT_GOAL := help
.PHONY: help run quick test check bench docs shell hooks format lock \
	lint types imports templates spelling scripts migrations

help: ## Lists what there is.
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

run: ## Starts streamsite here, with a channel "Demo". Ctrl-C ends it.
	deploy/run.sh

quick: ## Runs the tests that take no FFmpeg, servers or browser.
	bash deploy/test.sh -n 4 --dist worksteal -m "not slow"

test: ## Runs everything, as CI does.
	bash deploy/test.sh

check: ## Runs the linters, the type checker and the import contracts.
check: lint types imports templates spelling scripts migrations

lint:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

types:
	$(PYTHON) -m mypy .

imports:
	PYTHONPATH=. $(PYTHON) -c "from importlinter.cli import lint_imports_command as run; run()"

templates:
	@if [ -d templates ]; then $(PYTHON) -m djlint --lint --quiet templates; fi

spelling:
	git ls-files -z | xargs -0 $(PYTHON) -m codespell_lib
	$(PYTHON) deploy/old_words.py

scripts:
	shellcheck $(SCRIPTS)

migrations:
	$(PYTHON) manage.py makemigrations --check --dry-run --settings streamsite.tests.settings

bench: ## Takes the figures. Nothing else may run on this machine.
	bash deploy/bench.sh

docs: ## Writes the generated tables of the documents.
	$(PYTHON) deploy/tables.py

shell: ## Opens a Python shell with the models.
	$(PYTHON) manage.py shell

hooks: ## Runs the linters at every commit from now on.
	$(PYTHON) -m pre_commit install

format: ## Formats the code.
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

# The locks hold for Python 3.11 to 3.13; uv reads the abstract list in pyproject.toml.
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --custom-compile-command "make lock"

lock: ## Renews the locked requirements from pyproject.toml.
	$(LOCK) pyproject.toml --output-file requirements.txt
	$(LOCK) pyproject.toml --group dev --constraint requirements.txt \
		--output-file requirements-dev.txt
