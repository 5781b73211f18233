# Two commands do everything: `make reproduce` and `make test`. The environment is made on first use, from the lock.
PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONDONTWRITEBYTECODE := # byte code is kept, whatever the shell says: without it every start takes seconds more

.PHONY: reproduce test lab bits bench release-check screenshots clean
.DEFAULT_GOAL := reproduce

reproduce: .venv/ready ## run the pipeline for the edition in params.yaml and print its tables
	gexsent reproduce

test: .venv/ready ## style, unit tests, the lock gate, the sample run again from scratch, every notebook
	ruff check .
	ruff format --check .
	pytest tests --numprocesses auto --dist worksteal
	rm -rf .scratch
	pytest --nbval-lax --nbval-current-env --nbval-cell-timeout=300 -W default notebooks

lab: .venv/ready ## open the notebooks in JupyterLab
	gexsent lab

bits: .venv/ready ## the same bytes on an emulated Intel and an emulated AMD processor? Needs qemu-user; BITS=--small for a part
	python tests/bits.py $(BITS)

release-check: .venv/ready ## as `make test` asks of the sample: were lite's results made by this code, and does no label say otherwise?
	GEXSENT_EDITIONS=sample,lite pytest tests/test_reproduction.py -k "lock or labelled"

bench: .venv/ready ## how fast, as ratios: the machine, every stage and system, the experts, many samples; up to ten minutes
	python -m benchmarks

screenshots: .venv/ready ## pictures of the page of `gexsent demo`, in .scratch/screenshots. Needs Debian's chromium and chromium-driver
	python tests/screenshots.py

clean: ## remove what can be made again: the environment, scratch data, derived data
	rm -rf .venv .scratch data/derived

# uv, itself pinned and hashed in the lock, installs the lock in a sixth of the time that pip takes; where it cannot, pip does.
# For pip the lock is a constraint too: it may take a newer release for `package[extra]` than the one locked otherwise.
.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > .venv/uv.lock
	.venv/bin/python -m pip install --quiet --require-hashes --requirement .venv/uv.lock && \
	.venv/bin/uv pip install --quiet --python .venv/bin/python --require-hashes --requirement requirements.lock || \
	.venv/bin/python -m pip install --quiet --require-hashes --requirement requirements.lock --constraint requirements.lock
	.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@
