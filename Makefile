# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Without PyTorch, which is large; and with all there is.
INSTALLED := $(VENV)/.installed
COMPLETE := $(VENV)/.complete

.PHONY: demo install test test-cluster test-image lint bench clean
.DEFAULT_GOAL := demo

demo: $(INSTALLED)
	$(BIN)/lmserve demo

install: $(COMPLETE)

# PROCESSES=2 halves the time where two processors have nothing else to do; 0 is one file after another.
PROCESSES ?= 0
test: $(COMPLETE)
	$(BIN)/pytest --numprocesses $(PROCESSES) --dist loadfile

# Several hosts on this machine, in network namespaces where it allows them: docs/many-nodes.md.
test-cluster: $(COMPLETE)
	$(BIN)/pytest tests/multinode

# The image, built twice and tried without an engine: docs/image.md. As root on Debian, with its packages
# buildah, mmdebstrap and bubblewrap.
test-image: $(INSTALLED)
	$(BIN)/python -m cluster.image.proof --twice

lint: $(COMPLETE)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Of TEXT, or of the text that `make demo` leaves. KENLM=FOLDER, the one with lmplz, build_binary and
# query, measures KenLM beside it.
TEXT ?= lmserve-demo/train.txt
bench: $(COMPLETE)
	@test -f $(TEXT) || { echo "there is no $(TEXT): run 'make demo', or name a text with TEXT="; exit 1; }
	$(BIN)/python -m benchmarks build $(TEXT) $(if $(KENLM),--kenlm $(KENLM))

clean:
	rm -rf $(VENV) lmserve-demo *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is older than 3.11; name a newer one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@echo "Installing into $(VENV) (about a minute) ..."
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "no virtual environment could be made: on Debian, apt-get install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[ray,serve,client,tokenizers,remote,monitor]'
	@touch $@

$(COMPLETE): $(INSTALLED)
	@echo "Installing what recurrent networks and tests need (PyTorch is large) ..."
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[ray,rnn,serve,client,otel,tokenizers,remote,monitor,bench,dev]'
	@touch $@
