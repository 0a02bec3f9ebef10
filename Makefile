# Targets of development; each installs what it needs into .venv first.
#
#   PYTHON=python3.12          interpreter that creates .venv (3.11 or newer)
#   TORCH_INDEX=<url>          package index for torch. On Linux the default index has the CUDA build, several gigabytes;
#                              without a GPU, use the "CPU" index shown on pytorch.org under "Start locally".
#   BUDGET=540                 time limit of `make gpu`, in seconds
#   WORKERS=2                  test processes
#   ARGS="--port 9000"         further arguments of the command

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
AIPERF := .venv-aiperf# environment of NVIDIA's load generator, whose pinned versions conflict with ours
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
PROTO := server/routes/open_inference
TORCH := $(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
WORKERS ?= 2
BUDGET ?= 540

.DEFAULT_GOAL := help
.PHONY: help serve test test-wheel test-aiperf container-test bench gpu lint format proto readme train lock clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

serve: $(VENV)/serve.installed ## install, then serve the bundled checkpoints
	$(BIN)/tessella serve $(ARGS)

test: $(VENV)/test.installed ## install, then run all tests
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

test-wheel: $(VENV)/test.installed ## run the tests against the built wheel instead of the source tree
	rm -rf build dist && $(BIN)/python -m build --wheel --no-isolation >build.log 2>&1 || { cat build.log; exit 1; }
	$(BIN)/python -m pip --disable-pip-version-check install --quiet --no-deps --target build/installed dist/*.whl
	PYTHONPATH=$(CURDIR)/build/installed TESSELLA_TEST_WHEEL=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

test-aiperf: $(VENV)/test.installed $(AIPERF)/installed ## install AIPerf into a separate environment, then run it against the service
	TESSELLA_AIPERF=$(CURDIR)/$(AIPERF)/bin/aiperf $(BIN)/python -m pytest tests/server/routes/test_nvidia_retrieval_aiperf.py $(ARGS)

container-test: ## build and run the images of docker/; needs docker or podman
	$(PYTHON) docker/container_test.py

bench: $(VENV)/test.installed ## install, then benchmark the networks beside timm on this machine
	$(BIN)/tessella bench models $(ARGS)

gpu: ## on a machine with an NVIDIA GPU and PyTorch: test, tune and benchmark for BUDGET seconds; run again to resume
	$(PYTHON) -m pip --disable-pip-version-check install --quiet --no-build-isolation --no-deps --editable .
	$(PYTHON) -m tessella.benchmarks.gpu_session --budget $(BUDGET)

lint: $(VENV)/test.installed ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@mkdir -p .mypy_cache/link && ln -sfn $(CURDIR) .mypy_cache/link/tessella # mypy needs the root under the name of the package
	cd .mypy_cache/link && MYPYPATH=. ../../$(BIN)/mypy --config-file ../../pyproject.toml --package tessella

format: $(VENV)/test.installed ## fix and format with ruff
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

proto: $(VENV)/test.installed ## generate the gRPC message modules from their .proto
	$(BIN)/python -m protoc --proto_path=$(PROTO) --python_out=$(PROTO) --pyi_out=$(PROTO) $(PROTO)/*.proto

readme: $(VENV)/test.installed ## write the tables of docs/ from the code and from measurements
	$(BIN)/python -m tests.support.readme_tables

train: $(VENV)/test.installed ## train the bundled checkpoints
	$(BIN)/python -m tessella.models.zoo.training.train $(ARGS)

lock: $(VENV)/test.installed ## write constraints.txt from the packages in .venv
	$(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' | grep -viE '^(nvidia|cuda)' >constraints.txt

clean: ## remove the environments and build outputs
	rm -rf $(VENV) $(AIPERF) build dist *.egg-info

$(VENV)/%.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tessella needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; choose another one: make PYTHON=python3.12 …")'
	@test -x $(BIN)/python || { echo "creating $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing (the first time takes a few minutes)"
	$(TORCH)
	$(PIP) --editable '.[$(if $(filter serve,$*),torch,$*)]'
	@touch $@

$(AIPERF)/installed: constraints-aiperf.txt # pip freeze of an environment with AIPerf alone
	@echo "creating $(AIPERF)"
	@$(PYTHON) -m venv --clear $(AIPERF)
	$(AIPERF)/bin/python -m pip --disable-pip-version-check install --quiet --constraint constraints-aiperf.txt aiperf
	@touch $@
