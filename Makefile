# make demo, make test: each sets up everything it needs first.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Linux without a display draws on a virtual screen (Qt's "offscreen" platform has no OpenGL).
HEADLESS := $(shell [ "$$(uname)" = Linux ] && [ -z "$$DISPLAY$$WAYLAND_DISPLAY" ] && echo yes)
SCREEN := $(if $(HEADLESS),QT_QPA_PLATFORM=xcb xvfb-run -a -s "-screen 0 1366x768x24")

.PHONY: help venv demo test test-pyside6 family pictures fuzz lint clean
.DELETE_ON_ERROR:

help:
	@echo "make demo   open the viewer on a synthetic eye (without a display: write demo.png)"
	@echo "make test   run the tests"
	@echo "make test-pyside6  run the viewer's tests with PySide6 instead of PyQt6, without the slow ones"
	@echo "make family train the small models that ship, from synthetic eyes, measure and replace them (runs/family)"
	@echo "make pictures  the viewer's pictures in docs/pictures, of every tab and view; look at them"
	@echo "make fuzz   damage files of every format and see that each opens or is refused in one sentence"
	@echo "make lint   check style, types and imports"
	@echo "make venv   only set up: $(VENV) and, on Debian and Ubuntu, system packages"
	@echo "make clean  remove $(VENV), caches and demo.png, but no training runs"

venv: $(READY)

$(BIN)/python:
	bash scripts/system-packages.sh
	bash scripts/make-venv.sh $(VENV)

$(READY): pyproject.toml constraints.txt hatch_build.py | $(BIN)/python
	$(BIN)/python -m pip install -c constraints.txt --editable ".[all,train]" --group dev
	touch $@

demo: $(READY)
	$(SCREEN) $(BIN)/octcube-viewer --demo $(if $(HEADLESS),--screenshot demo.png)

test: $(READY)
	$(SCREEN) $(BIN)/python -m pytest -n 2

# Both bindings are in $(VENV); these two variables say which one qtpy and pytest-qt take.
test-pyside6: $(READY)
	QT_API=pyside6 PYTEST_QT_API=pyside6 $(SCREEN) $(BIN)/python -m pytest -n 2 -m "not slow and not benchmark" tests/viewer

family: $(READY)
	$(BIN)/python -m train family --out runs/family --ship

pictures: $(READY)
	$(SCREEN) $(BIN)/python scripts/pictures.py

fuzz: $(READY)
	$(BIN)/python -m tests.fuzz

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/typos

clean:
	rm -rf $(VENV) dist build demo.png .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -f napari_octcube/napari.yaml
