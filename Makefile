# What a person or CI runs here; `make help` lists it. Recipes stay one or two lines: what needs more is a script.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/setup.stamp
# The older JupyterHubs that are still supported, in environments of their own.
HUBS   := .venv-hub4 .venv-hub5
# JupyterHub 4.1 on the oldest Python that the plugin supports; its test is skipped where that cannot be had.
OLDEST := .venv-python310
PYTHON310 ?= $(firstword $(wildcard $(shell pyenv prefix 3.10 2>/dev/null)/bin/python3.10) $(wildcard /usr/bin/python3.10))
NODE   := .node
# Suites beside each other need an engine each: test, or test-1 to test-8.
export HUBWARDEN_TEST_ENGINE ?= test
# $(call pytest,NAME,ARGUMENTS): leaves test-results/NAME.xml and a line in test-results/timings.txt.
pytest = .ci/timed $(1) $(BIN)/python -m pytest --durations=25 --junitxml=test-results/$(1).xml $(SELECT) $(2)
SELECT := -m "not full"
UV     := $(BIN)/uv
COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-annotate --no-header
SHELL_FILES := $(wildcard deploy/*.sh deploy/*/*.sh deploy/*/*/*.sh .ci/*)
PROTO  := hubwarden/v1/agent.proto
PROTOC = $(BIN)/python -m grpc_tools.protoc -I proto --plugin=protoc-gen-mypy=$(BIN)/protoc-gen-mypy \
	--plugin=protoc-gen-mypy_grpc=$(BIN)/protoc-gen-mypy_grpc

.PHONY: help demo demo-down setup test test-full suites images test-unit test-image test-engine test-hub test-browser fuzz \
	soak lint proto proto-check lock sbom bench engine engine-empty clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## build and start everything on this machine, and say how to log in
	deploy/demo/demo.sh up

demo-down: ## remove exactly what the demo made
	deploy/demo/demo.sh down

setup: $(STAMP) ## make .venv with what development and the tests need

# The locks pin every file by hash; our own distributions are linked, so that an edit needs no second setup.
DISTRIBUTIONS := proto/pyproject.toml agent/pyproject.toml hub_plugin/pyproject.toml
$(STAMP): requirements-dev.lock $(DISTRIBUTIONS)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e proto -e agent -e hub_plugin
	touch $@

.venv-hub%/setup.stamp: requirements-hub%.lock $(DISTRIBUTIONS) $(STAMP)
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(UV) pip install --quiet --python $(@D)/bin/python --require-hashes -r $<
	$(UV) pip install --quiet --python $(@D)/bin/python --no-deps -e proto -e agent -e hub_plugin
	touch $@

$(OLDEST)/setup.stamp: requirements-hub4.lock $(DISTRIBUTIONS) $(STAMP)
	test -x $(@D)/bin/python || $(UV) venv --quiet --python $(PYTHON310) $(@D)
	$(UV) pip install --quiet --python $(@D)/bin/python --require-hashes -r $<
	$(UV) pip install --quiet --python $(@D)/bin/python --no-deps -e proto -e hub_plugin
	touch $@

$(VENV)/bench.stamp: requirements-bench.lock $(STAMP)
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r $<
	touch $@

$(NODE)/setup.stamp: package.json package-lock.json
	deploy/need.sh npm=npm
	mkdir -p $(NODE) && cp package.json package-lock.json $(NODE)
	npm ci --prefix $(NODE) --no-audit --no-fund --loglevel error
	touch $@

test: setup ## lint, and every test but those marked `full`
	.ci/timed test $(MAKE) --no-print-directory suites

test-full: setup ## lint, and every test with all counts, on every JupyterHub, the unit tests in the image too
	.ci/timed test-full $(MAKE) --no-print-directory suites test-image SELECT=

# Targets run beside each other where both often wait: the engine's and the Hub's suites have engines of their own.
# The images of the later suites are built beside the first two. Only the browser's suite fills the machine by itself.
# Each target's output is shown in one piece, at its end.
BESIDE := --no-print-directory --output-sync=target
suites:
	$(MAKE) $(BESIDE) -j3 images lint test-unit
	$(MAKE) $(BESIDE) -j2 test-engine test-hub
	$(MAKE) --no-print-directory test-browser

test-unit: setup ## no engine, no Hub
	$(call pytest,unit,-n 2 tests/unit)

.venv-image/setup.stamp: requirements-dev.lock $(STAMP)
	rm -rf $(@D)
	$(UV) pip install --quiet --target $(@D) --python-version 3.13 --require-hashes -r $<
	touch $@

test-image: engine .venv-image/setup.stamp ## the agent's unit tests in its image, with the packages and the Python that ship
	.ci/timed image .ci/in-image .venv-image pytest -p no:cacheprovider -n 2 $(SELECT) tests/unit/agent tests/unit/gateway

# These delete volumes, so they get an engine of their own, never the machine's.
test-engine: setup engine-empty ## a real, private Docker engine: contract of the port, effects, attacks on the gateway
	$(call pytest,engine,tests/contract tests/engine tests/security)

test-hub: setup $(HUBS:=/setup.stamp) $(if $(PYTHON310),$(OLDEST)/setup.stamp) $(NODE)/setup.stamp ## real JupyterHubs: 6.1, 5.5 and 4.1, all at once
	.ci/timed hub deploy/every-hub.sh $(if $(SELECT),,--full) $(HUBWARDEN_TEST_ENGINE) .venv $(HUBS)

# The demo's script, which brings the stack up, stops at what others left on the engine under its users' names.
test-browser: setup engine-empty .venv-hub4/setup.stamp $(NODE)/setup.stamp ## Chromium against the compose stack, and JupyterHub 4.1
	deploy/need.sh chromium=chromium
	$(call pytest,browser,tests/browser)

# An earlier run that was killed may have left something.
engine-empty: engine
	deploy/offline/engine.sh empty $(HUBWARDEN_TEST_ENGINE)

fuzz: setup ## 100,000 requests of every kind against the fake engine, some minutes
	HUBWARDEN_FUZZ_REQUESTS=100000 $(BIN)/python -m pytest --timeout 3600 -s tests/unit/agent/test_fuzz.py

images: engine ## build the images of agent, Hub and users on the tests' engine; the suites find their layers in its cache
	HUBWARDEN_ENGINE=$(HUBWARDEN_TEST_ENGINE) .ci/timed images nice deploy/demo/demo.sh build

engine: ## start the private engine of the tests and load its images
	deploy/offline/engine.sh start $(HUBWARDEN_TEST_ENGINE)
	eval "$$(deploy/offline/engine.sh env $(HUBWARDEN_TEST_ENGINE))"; \
		deploy/offline/base-images.sh busybox; deploy/offline/base-images.sh python

lint: setup proto-check ## style, types, shell scripts, generated code
	.ci/timed lint bash -euc '$(BIN)/ruff check .; $(BIN)/ruff format --check .; $(BIN)/mypy; \
		$(BIN)/mypy --python-version 3.10 proto/hubwarden hub_plugin/hubwarden_hub; \
		$(BIN)/shellcheck -x $(SHELL_FILES)'

proto: setup ## generate the gRPC code again from the contract
	$(PROTOC) --python_out=proto --grpc_python_out=proto --mypy_out=proto --mypy_grpc_out=proto $(PROTO)

proto-check: setup
	@fresh=$$(mktemp -d); trap 'rm -rf "$$fresh"' EXIT; \
	$(PROTOC) --python_out=$$fresh --grpc_python_out=$$fresh --mypy_out=$$fresh --mypy_grpc_out=$$fresh $(PROTO); \
	for file in "$$fresh"/hubwarden/v1/*; do \
		cmp "$$file" "proto/hubwarden/v1/$${file##*/}" || { echo "generated code is stale: make proto"; exit 1; }; \
	done

lock: setup ## lock the dependencies anew, with hashes
	$(COMPILE) requirements-dev.in -o requirements-dev.lock
	$(COMPILE) requirements-bench.in -o requirements-bench.lock
	$(COMPILE) --python-version 3.10 requirements-hub4.in -o requirements-hub4.lock
	$(COMPILE) requirements-hub5.in -o requirements-hub5.lock
	$(COMPILE) -c requirements-dev.lock agent/requirements.in -o agent/requirements.lock
	$(COMPILE) agent/build.in -o agent/build.lock
	$(COMPILE) -c requirements-dev.lock deploy/demo/hub/requirements.in -o deploy/demo/hub/requirements.lock
	$(COMPILE) deploy/demo/user/requirements.in -o deploy/demo/user/requirements.lock

sbom: engine .venv-image/setup.stamp ## a CycloneDX bill of materials of the Python packages in the agent's image
	mkdir -p dist
	.ci/in-image .venv-image cyclonedx_py environment --pyproject agent/pyproject.toml --output-reproducible \
		/opt/hubwarden/bin/python >dist/hubwarden-agent.cdx.json

bench: setup $(VENV)/bench.stamp engine $(NODE)/setup.stamp ## measure, against what is measured beside it in the same run
	$(BIN)/python bench/agent.py
	$(BIN)/python bench/gateway.py
	$(BIN)/python bench/backup.py
	$(BIN)/python bench/restart.py
	$(BIN)/python bench/hub_latency.py
	$(BIN)/python bench/click_to_ready.py
	$(BIN)/python bench/admin_page.py
	$(BIN)/python bench/page_follows.py
	$(BIN)/python bench/open_tabs.py
	$(BIN)/python bench/memory.py

soak: setup engine ## 10,000 mixed operations on real containers, and what is left of them in the agent
	$(BIN)/python bench/soak.py

clean: ## remove what the tools leave in the folders (the cache folder of engine and images stays)
	rm -rf $(VENV) $(HUBS) $(OLDEST) .venv-image $(NODE) .mypy_cache .pytest_cache .ruff_cache .hypothesis test-results
