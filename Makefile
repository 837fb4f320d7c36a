# Everything here works from a clean clone with Python (3.10 or newer) and make:
# each target sets up .venv on its own, and again when pyproject.toml or constraints.txt change.
# test-extras has an environment apart, since Datumaro holds pandas, Pillow and pyarrow back.

PYTHON ?= python3
JOBS ?= 2
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
EXTRAS := .venv-extras
PEERS := .venv-peers
OTHERS := webdataset mosaicml-streaming litdata pylance datumaro ffcv
DATA := data/hands
DATASET := datasets/hands-mosaic
SHEET := $(DATASET).png
RUN := runs/hands-mosaic
# A small network, so that two CPU cores show something in half a minute. Without these the trainer takes Unet++, resnet34.
SHORT := --set model.architecture=unet --set model.encoder=tu-test_resnet \
	--set 'model.options={decoder_channels: [64, 48, 32, 32, 32]}' --set 'loss=[{name: dice}]' --set data.size=128 \
	--set data.batch_size=4 --set optimizer.lr=0.003 --set epochs=20 --set validate_every=5

.PHONY: help demo test test-slow test-extras lint check format mutants bench-peers docs docs-ops clean

help:
	@echo "make demo         generate hand radiographs, build a dataset from them, train on it, look at it"
	@echo "make test         the tests, without the slow ones   (ARGS='-k mosaic' goes to pytest)"
	@echo "make test-slow    the slow tests alone"
	@echo "make test-extras  the tests of Datumaro, PyOD, ray and S3 alone, in an environment of their own, .venv-extras"
	@echo "make lint         ruff, mypy --strict, import-linter, vulture"
	@echo "make check        augforge check: what data_manifest.yaml says of recipes and datasets is true"
	@echo "make format       let ruff put the code into shape"
	@echo "make mutants      change the code in many places, one at a time, to see which change no test notices; an hour or two"
	@echo "                  (ARGS='--module judge --limit 20 --jobs 2')"
	@echo "make bench-peers  builds and reads beside other tools, which it installs in .venv-peers; some minutes"
	@echo "make docs         write docs/commands.md and docs/configuration.md from the code"
	@echo "make docs-ops     draw docs/ops/ anew: a picture of every op   (ARGS='mosaic ricap' draws these)"
	@echo "make clean        remove .venv, .venv-extras, .venv-peers and caches; data/ and datasets/ stay"
	@echo "PYTHON=python3.11 chooses the interpreter of a new .venv."

demo: $(READY) $(DATA)
	$(BIN)/augforge build recipes/mosaic.yaml --out $(DATASET) --jobs $(JOBS)
	$(BIN)/augforge inspect $(DATASET)
	$(BIN)/augforge verify $(DATASET) --pixels
	$(BIN)/augforge show $(DATASET) -o $(SHEET)
	rm -rf $(RUN)
	$(BIN)/augforge train --shards $(DATASET) --out $(RUN) $(SHORT)
	$(BIN)/augforge evaluate $(RUN) $(DATASET) --worst 2 --out $(RUN)/evaluation
	@echo
	@echo "Look at it:    $(SHEET)"
	@echo "The dataset:   $(DATASET)  (README.md in it says how to read it)"
	@echo "The recipe:    recipes/mosaic.yaml; change it and run make demo again"
	@echo "The model:     $(RUN)/curves.png and $(RUN)/evaluation/worst-1.png; half a minute's training, so rough"

$(DATA): | $(READY)
	$(BIN)/augforge sample-data --out $(DATA) --persons 12 --size 1024 --seed 7

test: $(READY)
	$(BIN)/python -m pytest -n 2 $(ARGS)

test-slow: $(READY)
	$(BIN)/python -m pytest -m "slow and not extras" $(ARGS) || test $$? -eq 5  # 5: there are none

test-extras: $(EXTRAS)/.ready
	$(EXTRAS)/bin/python -m pytest -m extras $$(grep -rl --include='test_*.py' mark.extras tests) $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict
	$(BIN)/lint-imports
	$(BIN)/vulture

check: $(READY)
	$(BIN)/augforge check

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(READY): WANTED := dev,train
$(EXTRAS)/.ready: WANTED := test-extras
$(READY) $(EXTRAS)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "augforge needs Python 3.10 or newer. Choose one: make PYTHON=python3.11"; exit 1; }
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(WANTED)]'
	@touch $@

mutants: $(READY)
	$(BIN)/python tests/mutants.py $(ARGS)

bench-peers: $(PEERS)/.ready
	$(PEERS)/bin/python benchmarks/peers.py $(ARGS)

# Streaming needs a transformers that refuses the huggingface-hub of datasets 5. The others are installed each by itself:
# what cannot be built here is said in the table, and the rest is measured.
$(PEERS)/.ready: pyproject.toml constraints.txt
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train]' \
		'datasets<5' 'huggingface-hub<1'
	for package in $(OTHERS); do \
		$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $$package || \
			echo "$$package cannot be installed here"; \
	done
	@touch $@

docs: $(READY)
	$(BIN)/python docs/reference.py

docs-ops: $(READY)
	$(BIN)/python docs/ops/make.py $(ARGS)

clean:
	rm -rf $(VENV) $(EXTRAS) $(PEERS) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find augforge tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
