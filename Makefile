# The two commands of a newcomer are `make run` and, for whoever changes something, `make test`.
# Needed beforehand: make and Python 3.11 or newer. Everything else is made here, below .venv/, var/ and node_modules/.

PYTHON ?= python3
JOBS ?= 3  # more than two cores: half of the tests wait for processes to start

unexport PYTHONDONTWRITEBYTECODE  # without bytecode every start compiles Django anew, for seconds
unexport VIRTUAL_ENV  # ours is .venv, whichever one is active

RUN := .venv/bin/python
PRODUCT := sequin_auth providers oauth_apps credentials syncs manage.py gunicorn.conf.py
SEMGREP := SEMGREP_SETTINGS_FILE=var/semgrep/settings.yml SEMGREP_LOG_FILE=var/semgrep/log .venv/bin/semgrep scan \
  --metrics=off --disable-version-check --quiet -j 2 --config lint

.PHONY: install run serve test coverage fuzz lint lint-types lint-patterns lint-rest bench
.DEFAULT_GOAL := run

run: .venv/installed
	@$(RUN) manage.py run

serve: .venv/installed
	@exec env ENV_FILE= $(RUN) manage.py serve

install: .venv/installed $(if $(shell command -v npm 2>/dev/null),node_modules/.package-lock.json)

test: install lint
	$(RUN) -m pytest -n $(JOBS) --dist loadscope --no-loadscope-reorder

coverage: install
	$(RUN) -m pytest -n $(JOBS) --dist loadscope --no-loadscope-reorder --cov --cov-report=term

fuzz: install
	$(RUN) -m pytest -n $(JOBS) --hypothesis-profile=long tests/fuzz tests/lib/test_key_ring.py tests/lib/test_api.py tests/security/test_i_fuzz.py

lint: .venv/installed
	@mkdir -p var/semgrep
	@$(MAKE) --no-print-directory -j 2 lint-types lint-patterns lint-rest

lint-types:
	$(RUN) -m mypy

lint-patterns:
	$(SEMGREP) --error --include '*.py' --include '*.html' --include '*.js' $(PRODUCT) templates static

lint-rest:
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	.venv/bin/lint-imports
	$(RUN) -m bandit -q -c pyproject.toml -r $(PRODUCT)
	$(SEMGREP) --test lint
	$(RUN) manage.py lintmigrations --settings tests.settings_of_linter --project-root-path . --quiet ok ignore
	$(RUN) manage.py makemigrations --check --dry-run --settings tests.settings
	$(RUN) manage.py check --settings tests.settings

bench: .venv/installed
	@$(RUN) -m bench.catalogue
	@$(RUN) -m bench.start
	@$(RUN) -m bench.trip
	@$(RUN) -m bench.reads
	@$(RUN) -m bench.credentials
	@$(RUN) -m bench.console
	@$(RUN) -m bench.syncs
	@$(RUN) -m bench.growth
	@$(RUN) -m bench.statements

# uv, if this machine has it; else one of our own, beside the environment, which it would remove itself from.
.venv/installed: pyproject.toml uv.lock
	@if command -v uv >/dev/null; then uv=uv; else \
	  $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name it: make PYTHON=python3.12" >&2; exit 1; }; \
	  export UV_PYTHON=$(PYTHON); uv=var/uv/bin/uv; test -x $$uv || { \
	    echo "Fetching uv, which fetches the rest."; mkdir -m 700 -p var; \
	    $(PYTHON) -m venv var/uv || { echo "On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }; \
	    var/uv/bin/pip install --quiet --disable-pip-version-check uv; }; fi && \
	UV_PROJECT_ENVIRONMENT=.venv $$uv sync --frozen --quiet --compile-bytecode
	@touch $@

# Servers that nobody here wrote, for the tests.
node_modules/.package-lock.json: package.json package-lock.json
	@npm ci --no-audit --no-fund --loglevel=error
	@touch $@
