# make demo       convert, verify and report a small dataset
# make corpus     open data of many domains for one model, by the recipes: hours; SMALL=1 makes a tenth
# make play       a page in the browser: a model acts frame by frame, its tokens and choices beside the expert's episode
# make results    scores of a trained model, RUN=its folder, in every environment of the recipes, as tables and a page
# make check      the quick loop, under 90 seconds on 2 cores: ruff, mypy, the quick tests
# make test       what CI runs, about 20 minutes: ruff, mypy, every test that is not slow
# make test-all   `make test`, then the slow tests: a quarter of an hour more
# make test-lowest  the tests with the lowest versions of packages that setup.cfg allows, in an environment of their own
# make cluster-test  conversions on Prism, Dask, Flink, Spark, into SeaweedFS, where these are to be had: docs/clusters.md
# make docs       the documentation as a site, in site/
# make dist       the source package and the wheel, tried in an empty environment
# Each can be run again.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= demo-data
TRAIN_OUT ?= train-demo-data
MODEL = $(or $(RUN),demo)
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: demo train-demo corpus play results check test test-all test-lowest cluster-test lint bench docs dist clean

# Procgen asks for a numpy below 2, and works with newer ones: it comes without what it asks for. The extra `recipes` has
# what it really needs.
PROCGEN := --no-deps 'procgen-mirror==0.10.7; sys_platform == "linux" and platform_machine == "x86_64" and \
	python_version < "3.13"' gym3==0.3.3

# Each stamp is a set of extras; it is renewed when setup.cfg changes.
$(VENV)/.demo: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[demo]'
	touch $@

$(VENV)/.test: $(VENV)/.demo
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[demo,dev]'
	$(BIN)/python -m pip install -q --disable-pip-version-check $(PROCGEN)
	touch $@

demo: $(VENV)/.demo
	$(BIN)/python -m examples.demo $(OUT)

# Two BabyAI levels, learned from their expert's episodes: under 20 minutes on 2 cores.
train-demo: $(VENV)/.demo
	$(BIN)/python -m examples.train_demo $(TRAIN_OUT)

$(VENV)/.recipes: $(VENV)/.demo
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[demo,recipes]'
	$(BIN)/python -m pip install -q --disable-pip-version-check $(PROCGEN)
	touch $@

# Every dataset of recipes/, in corpus/: hours. With SMALL=1 a tenth of each, in corpus-small/. It goes on where it stopped.
corpus: $(VENV)/.recipes
	$(BIN)/python -m recipes.make_corpus $(if $(SMALL),--small)

# Prints the address of the page; RUN is the folder of a run or an export, by default the model that comes along.
play: $(VENV)/.recipes
	$(BIN)/python -m recipes.play --checkpoint $(MODEL)

# Goes on with the tasks that results/scores.jsonl lacks. RUN: as of `play`.
results: $(VENV)/.recipes
	$(BIN)/python -m recipes.scores $(MODEL) --out results/scores.jsonl
	$(BIN)/python -m recipes.answers $(MODEL) --out results/answers.json
	$(BIN)/python -m recipes.held_out_text $(MODEL) --out results/text.json
	$(BIN)/python -m recipes.transfer $(MODEL) --out results/transfer.jsonl
	$(BIN)/python -m recipes.ablations --out results/ablations.jsonl
	$(BIN)/python -m recipes.filmstrips $(MODEL) results/scores.jsonl
	$(BIN)/python -m recipes.results $(MODEL) results/scores.jsonl

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m 'not slow and not whole'

test: lint
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m 'not slow'

test-all: test
	$(BIN)/python -m pytest -q -n 2 -m slow

$(VENV)-lowest/.installed: setup.cfg
	$(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/python -m pip install -q --disable-pip-version-check 'uv>=0.9,<1'
	$(VENV)-lowest/bin/uv pip install -q --python $(VENV)-lowest/bin/python --resolution lowest-direct -e '.[dev]'
	touch $@

# All lower bounds of setup.cfg at once; what those packages need in turn is of its newest version.
test-lowest: $(VENV)-lowest/.installed
	PATH="$(abspath $(VENV)-lowest/bin):$$PATH" $(VENV)-lowest/bin/python -m pytest -q -n 2 --dist loadfile -m 'not slow' \
		tests/gato_tokenize tests/pipelines tests/gato_model tests/recipes

$(VENV)/.cluster: $(VENV)/.test
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[demo,dev,dask]'
	touch $@

STORE_TESTS := $(wildcard tests/whole/test_*_stores.py) tests/pipelines/test_beam_steps.py

# Starts, checks and stops all that it starts; what it could not get is a skipped test, with the reason.
cluster-test: $(VENV)/.cluster
	PATH="$$HOME/go/bin:$$PATH" $(BIN)/python -m pytest -q tests/cluster
	PATH="$$HOME/go/bin:$$PATH" S3_SERVER=weed $(BIN)/python -m pytest -q -m 'not slow' $(STORE_TESTS)

$(VENV)/.bench: $(VENV)/.test
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[demo,dev,bench]'
	touch $@

# The widest other converter, in an environment of its own: it has other versions of what we need.
$(VENV)-forge/.installed:
	$(PYTHON) -m venv $(VENV)-forge
	$(VENV)-forge/bin/python -m pip install -q --disable-pip-version-check 'forge-robotics[rlds,lerobot,video,zarr,hdf5]==0.2.0'
	touch $@

bench: $(VENV)/.bench $(VENV)-forge/.installed
	for name in $(basename $(notdir $(wildcard benchmarks/bench_*.py))); do \
		echo "== $$name"; $(BIN)/python -m benchmarks.$$name || exit 1; done

# The documentation in site/; any warning is an error.
docs: $(VENV)/.test
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# The source package and the wheel, which is then used in an empty environment. Files that an older build listed in
# *.egg-info would be packed again.
dist: $(VENV)/.test
	rm -rf dist build *.egg-info
	$(BIN)/python -m build
	$(BIN)/python -m scripts.check_dist dist

clean:
	rm -rf $(VENV) $(OUT) $(TRAIN_OUT) build dist site *.egg-info
