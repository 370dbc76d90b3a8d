# The same commands for people and for CI. `make demo` and `make test` install what is missing.

PYTHON ?= python3
PYTEST_ARGS ?=
export PYTHON
.DEFAULT_GOAL := help
.PHONY: help setup qgis demo test test-engine test-plugin test-qgis test-desktop test-qgis340 \
        lint format lock package clean

help:  ## what there is
	@sed -n 's/^\([a-z0-9-]*\):.*##/\1\t/p' $(MAKEFILE_LIST) | expand -t 16

setup:  ## the engine's environment in .venv, with the command .venv/bin/tilth
	@$(PYTHON) -m plugin.environment create --target .venv --add scripts/dev.lock --command

qgis:  ## QGIS and Xvfb from the system's packages, where they are missing
	@scripts/install-qgis
	@scripts/make-qgis-venv

demo: setup qgis  ## the main job in QGIS on the sample scene, or IMAGE=… LABELS=… FIELD=… [OUT=…]
	@$(PYTHON) scripts/demo.py "$(IMAGE)" "$(LABELS)" "$(FIELD)" "$(OUT)"

test: test-engine test-plugin test-desktop  ## every test: engine, headless QGIS, real QGIS window

test-engine: setup  ## the engine, in its own environment
	.venv/bin/python -m pytest tests/engine tests/test_*.py $(PYTEST_ARGS)

test-plugin: setup qgis  ## the plugin, in headless QGIS, and the making of environments
	.qgis-venv/bin/python -m pytest tests/environment tests/qgis $(PYTEST_ARGS)

test-qgis: setup qgis
	.qgis-venv/bin/python -m pytest tests/qgis $(PYTEST_ARGS)

test-desktop: setup qgis  ## the real QGIS window, on a display of its own
	$(PYTHON) scripts/with_display.py .qgis-venv/bin/python -m pytest tests/desktop $(PYTEST_ARGS)

test-qgis340: setup  ## tests/qgis in QGIS 3.40 (Debian trixie in a tree of its own; needs root)
	@scripts/qgis340 $(PYTEST_ARGS)

lint: setup  ## style, format and types, also as on Windows
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/mypy --platform win32

format: setup  ## put the code into the project's format
	.venv/bin/ruff check --fix --quiet . || true
	.venv/bin/ruff format .

lock:  ## resolve the dependencies again and write the lock files
	scripts/make-locks

package:  ## the plugin's zip, as QGIS installs it, in dist/
	@$(PYTHON) scripts/package.py

clean:  ## remove what was made here; TILTH_HOME stays
	rm -rf .venv .qgis-venv build dist demo screenshots .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
