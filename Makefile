# make tutorial   run every lesson on data/mini; notebooks, pages and a summary in build/tutorial/
# make test       run every test, every cell of every notebook included
# make lint       ruff over code and notebooks
# make notebooks  run every lesson and store its outputs in notebooks/
# make colab      run every lesson with Google Colab's versions (tests/colab.txt), from an empty folder
# make repository                   write the published address (git's origin) into badges and set-up cells
# make repository REPO=owner/name   the same with another one

PYTHON ?= python3
COLAB_PYTHON ?= python3.13
BIN := .venv/bin
INSTALLED := .venv/installed
$(shell test -x $(BIN)/python || rm -f $(INSTALLED))  # the system's Python was replaced by another one

.PHONY: tutorial test lint notebooks colab repository

tutorial: $(INSTALLED)
	$(BIN)/python scripts/run_notebooks.py

test: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder  # two files at a time, cells in order

lint: $(INSTALLED)
	$(BIN)/ruff check .

notebooks: $(INSTALLED)
	$(BIN)/python scripts/run_notebooks.py --store

# A Python of its own, because Colab's is another one; installed anew when the pins have changed.
colab:
	@$(COLAB_PYTHON) --version || { echo "Colab has Python 3.13: install it, or name another with COLAB_PYTHON="; exit 1; }
	@test -x build/colab/bin/pip || $(COLAB_PYTHON) -m venv --clear build/colab
	build/colab/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -c tests/colab.txt
	rm -rf build/colab-home
	TRANSFER_HOME=build/colab-home build/colab/bin/python scripts/run_notebooks.py --output build/colab-tutorial

repository:
	$(PYTHON) scripts/set_repository.py $(REPO)

# Made again only when requirements.txt changed; the mark is written last, so a broken
# installation is taken up again.
$(INSTALLED): requirements.txt
	@$(PYTHON) -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))" || \
	  { echo "Python 3.11 to 3.13 is needed, for example: make $(firstword $(MAKECMDGOALS)) PYTHON=python3.12"; exit 1; }
	@case "$$(uname -sm) $$($(PYTHON) -c 'import platform; print(platform.system(), platform.machine())')" in \
	  *"Darwin x86_64"*) echo "TensorFlow has no packages for Macs with an Intel processor from 2.17 on, and 2.19 is needed: open the lessons in Colab (README.md), or run make in a Linux container. On a Mac with Apple silicon, take a Python made for it (arm64)."; exit 1;; esac
	@$(BIN)/python -m pip --version > /dev/null 2>&1 || $(PYTHON) -m venv --clear .venv || \
	  { echo "$(PYTHON) could not make .venv. On Debian, Ubuntu and in WSL: sudo apt install python3-venv (for another Python its own, such as python3.12-venv). Then run make again."; exit 1; }
	@echo "Installing into .venv, about a minute (once, and again when requirements.txt changes) ..."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@
