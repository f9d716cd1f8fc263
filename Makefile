# `make check` is what CI runs before the tests. PYTHON is the interpreter of the project's
# virtual environment; without one the tools are taken from the path.
PYTHON ?= $(if $(wildcard .venv/bin/python),.venv/bin/python,python3)
SCRIPTS := .ci/run $(wildcard deploy/*.sh deploy/mediamtx/*.sh)
# Settings that no .env of yours changes.
export ENV_FILE := /dev/null

.PHONY: check lint types imports templates spelling scripts migrations test quick format lock

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

scripts:
	shellcheck $(SCRIPTS)

migrations:
	$(PYTHON) manage.py makemigrations --check --dry-run --settings streamsite.tests.settings

test:
	$(PYTHON) -m pytest -n 6 --dist worksteal

quick:
	$(PYTHON) -m pytest -n 2 --dist worksteal -m "not slow"

format:
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

# The locks hold for Python 3.11 to 3.13; uv reads the abstract list in pyproject.toml.
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --custom-compile-command "make lock"

lock:
	$(LOCK) pyproject.toml --output-file requirements.txt
	$(LOCK) pyproject.toml --group dev --constraint requirements.txt \
		--output-file requirements-dev.txt
