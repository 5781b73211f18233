# Two commands do everything: `make reproduce` and `make test`. The environment is made on first use, from the lock.
PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: reproduce test lab bench clean
.DEFAULT_GOAL := reproduce

reproduce: .venv/ready ## run the pipeline for the edition in params.yaml and print its tables
	gexsent reproduce

test: .venv/ready ## style, unit tests, the lock gate, the sample run again from scratch, every notebook
	ruff check .
	ruff format --check .
	pytest tests
	rm -rf .scratch
	pytest --nbval-lax --nbval-current-env --nbval-cell-timeout=300 -W default notebooks

lab: .venv/ready ## open the notebooks in JupyterLab
	jupyter lab --notebook-dir=.

bench: .venv/ready ## how fast the experts are against a plain loop, and every system against text only
	python benchmarks/experts.py
	python benchmarks/systems.py

clean: ## remove what can be made again: the environment, scratch data, derived data
	rm -rf .venv .scratch data/derived

# The lock is a constraint too: without it, pip may take a newer release for `package[extra]` than the one locked.
.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --require-hashes --requirement requirements.lock --constraint requirements.lock
	.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@
