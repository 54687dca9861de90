# Everything a person runs. `make` alone lists it.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PY := .venv/bin/python
BIN := .venv/bin

# Folders that hold our Python.
CODE := config registry inference reviews cli tests tools $(wildcard benchmarks)
# Every test runs on SQLite; on PostgreSQL run those whose code touches a database. The rest would only be repeated: the
# engine, the server and the sample Hub know none, and the browser sees the pages that tests/pages asks for on both.
NO_DATABASE := $(addprefix tests/,engine server sample_hub sample_model browser)
NO_DATABASE_FILES := tests/house/test_launch.py tests/house/test_compose.py tests/reviews/test_telling.py \
	tests/gateway/test_old_clients.py
DATABASE_TESTS ?= $(filter-out $(NO_DATABASE),$(patsubst %/__init__.py,%,$(wildcard tests/*/__init__.py))) \
	$(addprefix --ignore=,$(NO_DATABASE_FILES))
PYTEST ?= $(PY) -m pytest -n 2 --dist loadgroup

.PHONY: help setup demo up test test-old-clients test-ray lint format messages bench bench-api test-sqlite test-postgres chromium nginx
.DEFAULT_GOAL := help

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1	/' | expand -t 18

setup: ## the environment .venv with the pinned packages; nothing to do when it is up to date
	@$(PYTHON) tools/setup_venv.py

demo: setup ## every process on sample data, and the story of a model's life; EXIT=1 stops after the story
	@$(PY) -m config.launch demo $(if $(EXIT),--exit)

up: setup ## the same services with your own data, against the real Hub
	@$(PY) -m config.launch up

test: setup chromium nginx lint test-sqlite test-postgres ## all checks and tests, on SQLite and on PostgreSQL

test-sqlite: setup
	env -u DATABASE_URL $(PYTEST)

# A server of yours through DATABASE_URL, else a private one that is deleted afterwards.
test-postgres: setup
	$(PY) -m tests.postgres $(PYTEST) $(DATABASE_TESTS)

test-old-clients: setup ## transformers 4.57 and huggingface_hub 0.36 against the Hub endpoint alone (`make test` runs them, too)
	env -u DATABASE_URL $(PY) -m pytest -n 0 -m old_client tests/gateway/test_old_clients.py

test-ray: setup ## the inference server as a Ray Serve application, in an environment of its own (0.3 GB)
	@$(PY) -m tools.side_venv var/ray "ray[serve]==2.60.0"
	env -u DATABASE_URL $(PY) -m pytest -n 0 -m ray tests/server/test_ray.py

lint: setup ## the house's checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/djlint --lint --quiet templates
	$(BIN)/mypy $(CODE)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/lint-imports
	$(PY) manage.py makemigrations --check --dry-run

format: setup ## what can be put in order by machine
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

messages: setup ## the words of the pages, collected and compiled (needs gettext)
	@tools/need 'command -v msgfmt' gettext
	$(BIN)/python manage.py makemessages -l vi -i ".venv*" -i var -i tests -i "benchmarks*" --no-location --no-wrap --no-obsolete
	$(BIN)/python manage.py compilemessages -i ".venv*"

bench: setup ## our inference server beside the others, same model, texts and client; QUICK=1 in five minutes
	@tools/need 'command -v wrk' wrk
	@$(PY) -m benchmarks.serving $(if $(QUICK),--quick)

bench-api: setup ## the rate of the approved-revision lookup
	@tools/need 'command -v wrk' wrk
	@$(PY) -m benchmarks.api

chromium:
	@tools/need 'command -v chromium || command -v chromium-browser || command -v google-chrome' chromium

nginx:
	@tools/need 'PATH="$$PATH:/usr/sbin:/sbin" command -v nginx' nginx-light
