# One command per wish; every one of them installs what it needs into .venv first.
#
#   PYTHON=python3.12          the interpreter that makes .venv (3.11 or newer)
#   TORCH_INDEX=<url>          where torch itself is installed from. On Linux the default index holds the CUDA build, several
#                              gigabytes; without a GPU take the "CPU" index shown on pytorch.org under "Start locally".
#   BUDGET=540                 seconds that `make gpu` may take
#   ARGS="--port 9000"         passed on to the command

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
AIPERF := .venv-aiperf# NVIDIA's load generator, which pins other versions than ours
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
PROTO := server/routes/open_inference
TORCH := $(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
WORKERS ?= 2
BUDGET ?= 540

.DEFAULT_GOAL := help
.PHONY: help serve test test-wheel test-aiperf container-test bench gpu lint format proto readme train lock clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

serve: $(VENV)/serve.installed ## install, then serve the checkpoints that ship
	$(BIN)/tessella serve $(ARGS)

test: $(VENV)/test.installed ## install, then run all tests
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

test-wheel: $(VENV)/test.installed ## run the tests against the built wheel instead of the source tree
	rm -rf build dist && $(BIN)/python -m build --wheel --no-isolation >build.log 2>&1 || { cat build.log; exit 1; }
	$(BIN)/python -m pip --disable-pip-version-check install --quiet --no-deps --target build/installed dist/*.whl
	PYTHONPATH=$(CURDIR)/build/installed TESSELLA_TEST_WHEEL=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

test-aiperf: $(VENV)/test.installed $(AIPERF)/installed ## install AIPerf into an environment of its own, then load the service
	TESSELLA_AIPERF=$(CURDIR)/$(AIPERF)/bin/aiperf $(BIN)/python -m pytest tests/server/routes/test_nvidia_retrieval_aiperf.py $(ARGS)

container-test: ## build the images of docker/ and run them; needs docker or podman. docker/container_test.py has more
	$(PYTHON) docker/container_test.py

bench: $(VENV)/test.installed ## install, then measure the models on this machine against timm
	$(BIN)/tessella bench models $(ARGS)

gpu: ## with an NVIDIA GPU and its PyTorch: correctness, tune, bench within BUDGET seconds; run again to go on
	$(PYTHON) -m pip --disable-pip-version-check install --quiet --no-build-isolation --no-deps --editable .
	$(PYTHON) -m tessella.benchmarks.gpu_session --budget $(BUDGET)

lint: $(VENV)/test.installed ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@mkdir -p .mypy_cache/link && ln -sfn $(CURDIR) .mypy_cache/link/tessella # mypy must see the root as the package
	cd .mypy_cache/link && MYPYPATH=. ../../$(BIN)/mypy --config-file ../../pyproject.toml --package tessella

format: $(VENV)/test.installed ## let ruff fix and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

proto: $(VENV)/test.installed ## generate the modules of gRPC's messages from their .proto
	$(BIN)/python -m protoc --proto_path=$(PROTO) --python_out=$(PROTO) --pyi_out=$(PROTO) $(PROTO)/*.proto

readme: $(VENV)/test.installed ## write the tables of docs/ from the code and from measurements
	$(BIN)/python -m tests.support.readme_tables

train: $(VENV)/test.installed ## train the checkpoints that ship again
	$(BIN)/python -m tessella.models.zoo.training.train $(ARGS)

lock: $(VENV)/test.installed ## write constraints.txt from what .venv holds
	$(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' | grep -viE '^(nvidia|cuda)' >constraints.txt

clean: ## remove .venv and everything that was built
	rm -rf $(VENV) $(AIPERF) build dist *.egg-info

$(VENV)/%.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tessella needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; choose another: make PYTHON=python3.12 …")'
	@test -x $(BIN)/python || { echo "making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing (the first time takes a few minutes)"
	$(TORCH)
	$(PIP) --editable '.[$(if $(filter serve,$*),torch,$*)]'
	@touch $@

$(AIPERF)/installed: constraints-aiperf.txt # pip freeze of an environment with nothing but AIPerf
	@echo "making $(AIPERF)"
	@$(PYTHON) -m venv --clear $(AIPERF)
	$(AIPERF)/bin/python -m pip --disable-pip-version-check install --quiet --constraint constraints-aiperf.txt aiperf
	@touch $@
