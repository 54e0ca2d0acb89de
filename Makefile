# Two commands: `make demo` runs the main job on built-in cases, `make test` runs every check.
# Linux gets a CUDA build of torch by default. A smaller CPU build:
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu
PYTHON ?= python3
TORCH_INDEX ?=
VENV := .venv
BIN := $(VENV)/bin
ANCHORS := .venv-anchors
CONSTRAINTS := resources/constraints.txt
SCREEN = $(if $(DISPLAY)$(WAYLAND_DISPLAY),,$(shell command -v xvfb-run >/dev/null 2>&1 && echo 'xvfb-run -a -s "-screen 0 1600x1000x24"'))

.PHONY: venv demo test test-anchors lint system clean

venv: $(VENV)/complete

$(VENV)/complete: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable . --group dev
	touch $@

system:
	@sh resources/install_system_packages.sh

demo: venv system
	$(BIN)/attnseg demo --out demo

test: venv system lint
	$(SCREEN) $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not gpu" $(PYTEST_OPTIONS)

# Attention modules and maps against timm, segmentation_models_pytorch, pytorch-grad-cam and
# torch-cam, with copied weights: every test in tests/anchors, in an environment of their own,
# which nothing else needs. `make test` leaves them out.
test-anchors: $(ANCHORS)/complete
	$(ANCHORS)/bin/python -m pytest tests/anchors $(PYTEST_OPTIONS)

$(ANCHORS)/complete: pyproject.toml $(CONSTRAINTS) tests/anchors/requirements.txt
	$(PYTHON) -m venv $(ANCHORS)
	$(ANCHORS)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(ANCHORS)/bin/python -m pip install --quiet --constraint $(CONSTRAINTS) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(ANCHORS)/bin/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable . --requirement tests/anchors/requirements.txt
	touch $@

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

clean:
	rm -rf $(VENV) $(ANCHORS) demo
