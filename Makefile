# The same commands for people and for CI. `make demo` and `make test` install what is missing.

PYTHON ?= python3
.DEFAULT_GOAL := help
.PHONY: help setup qgis qgis-venv demo test test-engine test-qgis test-desktop test-qgis340 \
        lint format lock package clean

help:  ## what there is
	@sed -n 's/^\([a-z0-9-]*\):.*##/\1\t/p' $(MAKEFILE_LIST) | expand -t 16

setup:  ## the engine's environment in .venv, with the command .venv/bin/tilth
	@$(PYTHON) -m plugin.environment create --target .venv --add scripts/dev.lock --command
