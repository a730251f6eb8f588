# demo, test and the benchmarks set up what they need; the other targets need `make setup` once. `make help` lists all.
# Relative: the path of the checkout may contain blanks.
PYTHON ?= .venv/bin/python
BIN := .venv/bin
export PYTHONUNBUFFERED := 1
.DEFAULT_GOAL := help
.PHONY: help setup demo down test test-unit test-cluster test-component test-e2e lint type crds verify lock bench-first-light bench-env bench-tau2 bench-models bench-synth bench-weights bench-keep-cache bench-late-engine bench-operator bench-coordinator bench-batch bench-trainer bench-gpu bench-layouts bench-checkpoint bench-plan bench-recovery clean

help: ## list the targets
	@grep -hE '^[a-z][a-zA-Z0-9_-]*:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-20s %s\n", $$1, $$2}'

setup: ## build the environment: Python packages, control plane, bubblewrap (seconds when done already)
	@python3 scripts/setup.py $(if $(filter kubeconfig,$(CLUSTER)),--packages-only) $(SETUP_ARGS)

# A machine that is too small is reported before half an hour of setting up.
demo bench-first-light: SETUP_ARGS = --memory-gib 14
demo: setup ## train a tool-using agent on this machine; CLUSTER=kubeconfig uses your current cluster
	@$(PYTHON) -m sea_devcluster.demo $(if $(CLUSTER),--cluster $(CLUSTER)) $(DEMO_ARGS)

down: ## stop the devcluster that a demo left running (NAME=demo)
	@$(PYTHON) -m sea_devcluster down --name $(or $(NAME),demo)

test: setup verify test-unit test-cluster test-component test-e2e ## checks, unit tests, real API server, Megatron-core, vLLM, S3, whole jobs with faults

test-unit: ## unit tests, about a minute
	$(BIN)/pytest -q -m "not cluster and not component and not e2e"

test-cluster: ## contract tests on a real kube-apiserver, node tests with real pods
	$(BIN)/pytest -q -m "cluster and not component and not e2e" --ignore tests/operator
	@# On a control plane of their own: a node agent would run the pods that these tests only simulate.
	$(BIN)/pytest -q -m "cluster and not component and not e2e" tests/operator

test-component: ## two ranks of the real Megatron-core, the real vLLM, a real S3 server
	$(BIN)/pytest -q -m "component and not e2e"

test-e2e: ## whole jobs on a devcluster, with faults
	$(BIN)/pytest -q -m e2e

lint: ## ruff, formatting, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

type: ## strict mypy
	$(BIN)/mypy

crds: ## write CRD YAML, the chart's copy and the field reference from the models
	$(PYTHON) -m sea_api write-crds

verify: lint type ## checks that need no cluster; fails if a generated file is stale
	$(PYTHON) -m sea_api check-crds

lock: ## resolve the hash-locked requirements again
	@python3 scripts/setup.py --lock

bench-first-light: setup ## run the demo job and measure it; last line is one JSON object
	@$(PYTHON) benchmarks/first_light.py

bench-env: DATA ?= $(or $(SEA_TAU2_DATA),$(wildcard $(CURDIR)/../shared/tau2))
bench-env: setup ## calls and resets per second of the environments (DATA=folder of tau2-bench's data); last line is one JSON object
	@$(PYTHON) benchmarks/env.py $(if $(strip $(DATA)),--data $(DATA))

# An environment of its own: its dependencies are a hundred packages that nothing else here needs.
bench-tau2: TAU2_PYTHON ?= out/tau2/bin/python
bench-tau2: setup ## domains, rewards and rules next to tau2-bench itself, and both speeds; last line is one JSON object
	@[ -x $(TAU2_PYTHON) ] || { $(PYTHON) -m venv out/tau2 && out/tau2/bin/pip install -q -r requirements/tau2.in; }
	@$(PYTHON) -W ignore benchmarks/tau2_parity.py --python $(TAU2_PYTHON) $(TAU2_ARGS)

bench-models: COUNT ?= 24
bench-models: SEED ?= 1
bench-models: setup ## random models in transformers, the trainer and vLLM, before and after a step of training; last line is one JSON object
	@$(PYTHON) benchmarks/models.py --count $(COUNT) --seed $(SEED)

bench-synth: setup ## procedural tasks with their verification per second and domain; last line is one JSON object
	@$(PYTHON) benchmarks/synth.py

bench-weights: setup ## reads, pause and deltas of a weight version (WEIGHTS_ARGS="--only pause"); last line is one JSON object
	@$(PYTHON) benchmarks/weights.py $(WEIGHTS_ARGS)

bench-keep-cache: setup ## what weights.keepCache changes in log-probabilities, with REWARDS=1 in a job's rewards; last line is one JSON object
	@$(PYTHON) benchmarks/$(if $(REWARDS),keep_cache_rewards,weights_keep_cache).py

bench-late-engine: setup ## a late engine that reads from a peer while the trainer is stopped, and one on S3 alone; last line is one JSON object
	@$(PYTHON) benchmarks/late_engine.py

bench-operator: setup ## the operator's cost and speed at 200 jobs, and at N with N=2000; last line is one JSON object
	@$(PYTHON) benchmarks/operator_load.py --jobs $(or $(N),200) $(if $(ONLY),--only $(ONLY))

bench-trainer: setup ## tokens per second of one RL step next to transformers and a Megatron loop; last line is one JSON object
	@$(PYTHON) -W ignore benchmarks/trainer.py

.PHONY: bench-parallel-job
bench-parallel-job: setup ## a job on four processes (tensor 2, pipeline 2, expert 2), its export in transformers, trainer and vLLM; last line is one JSON object
	@$(PYTHON) benchmarks/parallel_job.py

bench-gpu: ## the trainer's GPU path on one CUDA device with PYTHON=an interpreter that has torch; last line is one JSON object
	@PYTHONPATH=workloads $(PYTHON) benchmarks/gpu.py

bench-plan: setup ## the planner next to measured memory, published set-ups and our demo, and at 80 to 10,000 GPUs; last line is one JSON object
	@OMP_NUM_THREADS=1 CUDA_VISIBLE_DEVICES= $(PYTHON) -W ignore benchmarks/plan.py $(PLAN_ARGS)

bench-coordinator: setup ## latencies of a coordinator at ten times the reference run's rate; last line is one JSON object
	@$(PYTHON) benchmarks/coordinator_load.py

bench-batch: setup ## a 2.1 GB batch with experts to replay, from the coordinator to rank 0; last line is one JSON object
	@$(PYTHON) benchmarks/coordinator_batch.py

bench-recovery: setup ## seconds that a job stands still after each kind of failure, RUNS=5 for medians; last line is one JSON object
	@$(PYTHON) benchmarks/recovery.py

bench-checkpoint: setup ## what a checkpoint costs: how long training waits, and the upload next to a raw one; last line is one JSON object
	@OMP_NUM_THREADS=1 $(PYTHON) -W ignore benchmarks/checkpoint.py

bench-layouts: setup ## every parallel layout of the trainer against one process, up to 48 ranks on the CPU; last line is one JSON object
	@OMP_NUM_THREADS=1 $(PYTHON) -W ignore benchmarks/layouts.py

clean: ## stop devclusters of this checkout and remove build outputs
	-@[ -x $(PYTHON) ] && $(PYTHON) -m sea_devcluster down --all
	@rm -rf out dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
