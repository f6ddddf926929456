# make demo: the main job on the embedded default. make test: the tests. make check: format, lint, types, tests.
# Without an active environment, each makes its own in .venv and installs into it what constraints.txt pins.

PYTHON ?= python3
PREFIX := $(or $(VIRTUAL_ENV),$(CONDA_PREFIX),.venv)
BIN := $(PREFIX)/bin
READY := $(PREFIX)/.virb-ready
RESULTS ?= results
FIGURES ?= figures

.PHONY: demo test test-long test-old-processor test-processors lint types docs check encoders study clean help

help:
	@sed -n '1,2s/^# //p' Makefile
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*## /: /'

$(READY): setup.cfg pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(PREFIX)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(READY) ## evaluate encoders/*.pt on nine mini tasks, print the table, draw the correlation heatmap
	$(BIN)/virb demo --out $(RESULTS) --figures $(FIGURES)

test: $(READY) ## run the tests
	$(BIN)/python -m pytest -n auto -m "not long"

test-long: $(READY) ## run the few tests that take a minute each
	$(BIN)/python -m pytest -n auto -m long

# Other processors, as far as libraries can be told to be one: no test may hang on last bits, or on OpenMP's threads.
QUICK := $(BIN)/python -m pytest -n auto -m "not slow and not compiler and not long"
NUMERIC := $(addprefix tests/,features heads images losses metrics networks probes stats training)
test-old-processor: $(READY) ## run the quick tests of what computes as a processor without AVX would
	ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 OMP_NUM_THREADS=1 $(QUICK) $(wildcard $(NUMERIC))

test-processors: $(READY) ## run all quick tests so, and as a processor with AVX2 and two threads would
	ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 OMP_NUM_THREADS=1 $(QUICK)
	ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 OMP_NUM_THREADS=2 $(QUICK)

lint: $(READY) ## format and lint, without changing anything
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

docs: $(READY) ## build the documentation site into docs/_build; a broken link is an error
	$(BIN)/python -m sphinx -b html -q -W --keep-going docs docs/_build

types: $(READY) ## check the engine's types
	$(BIN)/mypy

check: lint types docs test ## everything that must hold before a commit

encoders: $(READY) ## make the reference encoders again
	$(BIN)/virb pretrain --recipe reference --out encoders --jobs 2

study: $(READY) ## the study in miniature: pretrain 39 encoders, evaluate them (docs/study.md; two hours on 2 cores)
	$(BIN)/virb paper run kotar-2021 --scale mini --out $(RESULTS)-study --jobs 2
	$(BIN)/virb results export docs/study.csv --results $(RESULTS)-study/records

clean: ## remove what the targets above made, the environment excepted
	rm -rf $(RESULTS) $(FIGURES) build dist .pytest_cache .mypy_cache .ruff_cache
