# Two commands: `make report` and `make test`. The rest is listed by `make help`.
# For Linux, macOS and WSL2 with Python 3.11 or newer, git and make.

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
CONSTRAINTS ?= constraints.txt
TORCH_INDEX ?=
CONFIG ?=

BIN := $(VENV)/bin
STAMP := $(VENV)/.thesis-setup
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --progress-bar off

# One thread a run: two threads that wait on each other cost up to ten times on a
# busy machine. THESIS_THREADS=4 gives each run four.
ifdef THESIS_THREADS
  override OMP_NUM_THREADS := $(THESIS_THREADS)
else
  OMP_NUM_THREADS ?= 1
endif
OMP_WAIT_POLICY ?= PASSIVE
export OMP_NUM_THREADS OMP_WAIT_POLICY
# Papermill, Snakemake and the kernels speak UTF-8 whatever the locale.
export PYTHONUTF8 = 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup report run chapter book test bars records lint format freeze clean

help:
	@echo "make report   set up, run the quick report, build the book, say where to open it"
	@echo "make test     set up and pass the tests"
	@echo
	@echo "make run CONFIG='chapter=05_pmsacl dataset=covidx'                one run"
	@echo "make chapter CONFIG='chapter=05_pmsacl datasets=lag,covidx seeds=0,1,2'"
	@echo "make book     build the book from the runs that are there"
	@echo "make bars     the long checks: tests/bars and benchmarks/"
	@echo "make records  make the recorded runs of the book again (hours, real data)"
	@echo "make lint     check style; make format mends it"
	@echo "make clean    remove the built pages and caches; results and environment stay"
	@echo
	@echo "TORCH_INDEX=https://download.pytorch.org/whl/cpu   a PyTorch without CUDA (laptops)"
	@echo "PYTHON=python3.12  VENV=.venv  JOBS=2  THESIS_THREADS=1  CONSTRAINTS=  (none: newest packages)"

setup: $(STAMP)

# The environment is made once, and again only when what it holds has changed.
$(STAMP): pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null || { \
	  echo "The companion needs Python 3.11 or newer, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || true); name another one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) || { \
	  echo "'$(PYTHON) -m venv' failed; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "Setting up $(VENV): some minutes the first time (PyTorch is large)."
ifneq ($(strip $(TORCH_INDEX)),)
	$(PIP) --index-url $(TORCH_INDEX) torch torchvision
endif
	$(PIP) $(addprefix -c ,$(CONSTRAINTS)) -e ".[dev]"
	@touch $@

# Runs go on where they stopped: Snakemake knows which are done and which a change
# touches; each run continues from its own checkpoints. The book is built even when
# a run failed, and shows it as failed; which one and why is said last.
NOT_DONE := .snakemake/status/not-done.txt
report: $(STAMP)
	@rm -f $(NOT_DONE); $(BIN)/snakemake report --cores $(JOBS) --quiet all; status=$$?; \
	$(MAKE) --no-print-directory book || exit; \
	test $$status -eq 0 || { echo "But not all runs of the report are done:"; \
	  cat $(NOT_DONE) 2>/dev/null || echo "Snakemake ended with exit code $$status and says why above."; \
	  exit $$status; } >&2

run chapter: $(STAMP)
	@$(BIN)/snakemake $@ --quiet all --cores $(JOBS) --config $(CONFIG)

book: $(STAMP)
	@$(BIN)/jupyter-book build -q book
	@echo "The book is ready: open $(CURDIR)/_build/html/index.html"

test: $(STAMP)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup

bars: $(STAMP)
	$(BIN)/python -m pytest tests/bars --durations=0
	@failed=; for file in $(filter-out benchmarks/records.py,$(wildcard benchmarks/*.py)); do \
	  echo "== $$file"; $(BIN)/python $$file || failed="$$failed $$file"; \
	done; \
	test -z "$$failed" || { echo "These failed:$$failed" >&2; exit 1; }

# Hours: the runs of book/records/runs.toml, kept as records. Data in $$THESIS_DATA.
records: $(STAMP)
	@$(BIN)/python benchmarks/records.py

lint: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: $(STAMP)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/nbstripout --keep-id --extra-keys "metadata.papermill metadata.widgets cell.metadata.papermill" chapters/*.ipynb

# Freeze the present environment, once its tests have passed.
TORCH_ONLY := torch|torchvision|triton|cuda-.*|nvidia-.*|sympy|mpmath|networkx|fsspec|filelock|pip|wheel|setuptools
freeze: test
	@{ grep '^#' constraints.txt; $(BIN)/python -m pip freeze --exclude-editable \
	  | grep -viE '^($(TORCH_ONLY))(==| @)'; } > constraints.txt.new
	@mv constraints.txt.new constraints.txt

clean:
	rm -rf _build book/chapters book/results .pytest_cache .ruff_cache .hypothesis
	@echo "Kept: results/ (runs), book/runs/ (executed notebooks), .cache/ (decoded images), $(VENV)/ (environment)."
	@echo "Remove those by hand if you mean to; a run that is gone is run again."
