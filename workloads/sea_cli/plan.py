"""`sea plan`: whether a job fits, how long its steps take, and how to split its GPUs."""

import argparse
import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sea_api.errors import SeaError
from sea_api.findings import problems
from sea_api.v1alpha1.job import KIND, Spec
from sea_api.v1alpha1.pods import PodTemplate
from sea_api.v1alpha1.role_rules import processes_per_pod
from sea_cli.common import Commands, command, say
from sea_cli.manifests import ManifestError, documents
from sea_cli.options import positive
from sea_data.errors import RowError
from sea_data.formats import data_files, jsonl
from sea_runtime.parallel import hf_config
from sea_runtime.parallel.hf_config import ModelShape
from sea_runtime.planner import alternatives, builtin_models, gpus, job_plan, page, pipelines
from sea_runtime.planner import workload as workloads
from sea_runtime.planner.budgets import Fit
from sea_runtime.planner.gpus import Gpu
from sea_runtime.planner.job_plan import POLICY, USER, JobPlan, Known

_EXAMPLE = """\
sea plan examples/areal-sea-235b.yaml
  sea plan job.yaml --gpu H100 --model-config models/mine
  sea plan job.yaml --gpus 128 --metrics run/reports/metrics.jsonl"""


SIMULATED_STEPS = 24


class PlanError(SeaError):
    """The job can't be planned: the message says what to give."""


def add(commands: Commands) -> None:
    parser = command(
        commands, "plan", "say whether a job fits and how long its steps take", _EXAMPLE
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="YAML or JSON of one job")
    parser.add_argument(
        "--gpu",
        choices=[kind for kind in gpus.KINDS if kind != gpus.CPU_NAME],
        help="kind of all GPUs (default: what the job's nodeSelector names, else H200)",
    )
    parser.add_argument(
        "--model-config",
        type=Path,
        metavar="DIR",
        help="folder with the config.json of the base model, if the model isn't a known one",
    )
    parser.add_argument(
        "--metrics",
        type=Path,
        metavar="FILE",
        help="reports/metrics.jsonl of a run: its lengths replace what is assumed",
    )
    parser.add_argument(
        "--mean-tokens", type=positive, metavar="N", help="mean length of a trajectory"
    )
    parser.add_argument(
        "--gpus",
        type=positive,
        metavar="N",
        help="GPUs to split between training and generation (default: as many as the job has)",
    )
    parser.add_argument(
        "--simulate",
        action="store_true",
        help="also simulate the RL stage event by event: throughput, staleness, what limits it",
    )
    parser.add_argument("--json", action="store_true", help="print the verdict as a JSON object")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """0 if the job fits or is tight, 1 if it doesn't fit."""
    name, spec = _job(given.file)
    known = _known(spec, given)
    plan = job_plan.plan(spec, known)
    if given.json:
        say(json.dumps(_verdict(plan), indent=1))
    else:
        for line in page.lines(name, spec, plan):
            say(line)
        for line in _proposals(spec, known, plan, given.gpus):
            say(line)
        for line in _simulated(spec, plan) if given.simulate else ():
            say(line)
    return 1 if plan.fit is Fit.DOES_NOT_FIT else 0


def _job(file: Path) -> tuple[str, Spec]:
    """Name and spec of the file's only job."""
    try:
        found = [one.value for one in documents(data_files.text(file)) if _is_job(one.value)]
    except ManifestError as error:
        raise PlanError(f"{file}:{error.line}: {error.sentence}.") from error
    if len(found) != 1:
        raise PlanError(f"{file} has {len(found)} jobs of kind {KIND}: name a file with one.")
    wrong = problems(found[0])
    if wrong:
        place = ".".join(map(str, wrong[0].path))
        raise PlanError(
            f"{file}: {place}: {wrong[0].sentence}. `sea job check {file}` lists all problems."
        )
    try:
        return found[0]["metadata"].get("name", "job"), Spec.model_validate(found[0]["spec"])
    except ValidationError as error:
        raise PlanError(f"{file} can't be planned: `sea job check {file}` says why.") from error


def _is_job(value: Any) -> bool:
    return isinstance(value, dict) and value.get("kind") == KIND


def _known(spec: Spec, given: argparse.Namespace) -> Known:
    return Known(
        shapes=_shapes(spec, given.model_config),
        trainer_gpu=_gpu(spec, spec.trainer.template, given.gpu),
        rollout_gpu=_gpu(spec, spec.rollout.template, given.gpu),
        user_gpu=_gpu(spec, spec.user_model.template, given.gpu),
        workload=_workload(spec, given),
    )


def _gpu(spec: Spec, template: PodTemplate, named: str | None) -> Gpu:
    if named:
        return gpus.KINDS[named]
    return gpus.selected(spec, template) or gpus.H200


def _shapes(spec: Spec, folder: Path | None) -> dict[str, ModelShape]:
    policy = hf_config.load(folder) if folder else builtin_models.of_source(spec.model.source)
    if policy is None:
        known = ", ".join(builtin_models.CONFIGS)
        raise PlanError(
            f"The shape of {spec.model.source} isn't known (known are {known}): give the folder of"
            " its config.json with --model-config."
        )
    source = spec.user_model.source
    user = builtin_models.of_source(source) if source else policy
    return {POLICY: policy} | ({USER: user} if user else {})


def _workload(spec: Spec, given: argparse.Namespace) -> workloads.Workload | None:
    rl = next((stage.rl for stage in spec.stages if stage.rl), None)
    if rl is None or (given.metrics is None and given.mean_tokens is None):
        return None
    context = spec.model.context_length
    found = workloads.assumed(rl.prompts_per_step, rl.trajectories_per_prompt, context)
    if given.metrics is not None:
        found = _measured(found, given.metrics)
    if given.mean_tokens is not None:
        found = workloads.with_mean(found, given.mean_tokens)
    if found.mean_tokens > found.longest:
        raise PlanError(
            f"Trajectories of {found.mean_tokens:,.0f} tokens on average ({found.source}) don't fit"
            f" model.contextLength {context:,}: name a smaller mean, or metrics of such a run."
        )
    return found


def _measured(assumed: workloads.Workload, file: Path) -> workloads.Workload:
    rows = []
    for _, row in jsonl.objects(data_files.lines(str(file)), str(file)):
        if isinstance(row, RowError):
            raise row
        rows.append(row)
    try:
        found = workloads.measured(assumed, rows)
    except (LookupError, TypeError, AttributeError, ZeroDivisionError) as error:
        raise PlanError(
            f"{file} isn't a run's reports/metrics.jsonl ({error!r}): name another file."
        ) from error
    if found == assumed:
        raise PlanError(f"{file} has no step of an RL stage: name the metrics of a run with one.")
    shares = found.generated_share, found.skipped_share
    if not (found.mean_tokens > 0 and found.samples > 0 and all(0 <= one <= 1 for one in shares)):
        raise PlanError(
            f"The numbers in {file} can't be a run's: {found.mean_tokens:g} tokens and "
            f"{found.samples:g} sequences per trajectory, {shares[0]:.0%} of the tokens generated, "
            f"{shares[1]:.0%} not computed. Name another file."
        )
    return found


def _proposals(spec: Spec, known: Known, plan: JobPlan, total: int | None) -> list[str]:
    """Layouts that fit, and the best splits; empty without GPUs or without an RL stage."""
    setup, gpu, engine = plan.trainer, known.trainer_gpu, plan.engine
    on_gpus = spec.trainer.gpus_per_pod and spec.rollout.gpus_per_pod
    if setup is None or gpu is None or engine is None or not on_gpus or not plan.stages:
        return []
    rl = next(stage.rl for stage in spec.stages if stage.rl)
    work, pod = plan.stages[0].workload, processes_per_pod(spec.trainer.gpus_per_pod)
    mine = setup.layout.world_size
    found = alternatives.fitting(setup, gpu, work, mine, pod, rl.minibatches)
    fewest = None
    if not found:
        fewest = alternatives.smallest(setup, gpu, work, pod, rl.minibatches)
    # The layout of the job is in force whatever is faster: it is shown among the others.
    total = total or mine + plan.engines * engine.tensor
    best = {
        world: candidates[0]
        for world in range(pod, total, pod)
        if (candidates := alternatives.fitting(setup, gpu, work, world, pod, rl.minibatches))
    }
    concurrent = workloads.concurrent_episodes(rl)
    assert plan.engine_gpu is not None
    made = {
        total - world: seconds
        for world in best
        if (
            seconds := alternatives.generation_seconds(
                engine, plan.engine_gpu, work, total - world, concurrent
            )
        )
        is not None
    }
    splits = alternatives.splits(total, pod, best, made)
    return ["", *page.proposals(found, fewest, splits, total)]


def _simulated(spec: Spec, plan: JobPlan) -> list[str]:
    """The first RL stage, as it is and with other bounds of the staleness gate."""
    engine, gpu = plan.engine, plan.engine_gpu
    if not plan.stages or engine is None or gpu is None:
        return []
    stage, rl = plan.stages[0], next(one.rl for one in spec.stages if one.rl)
    slots = max(1, round(stage.generation.episodes))
    asked = pipelines.of_stage(stage, rl, engine, gpu, plan.engines, slots)
    return list(page.simulated(pipelines.variants(asked), SIMULATED_STEPS))


def _verdict(plan: JobPlan) -> dict[str, Any]:
    return {
        "verdict": plan.fit.value,
        "budgets": [
            {
                "where": one.where,
                "needed": round(one.needed),
                "available": None if one.capacity is None else round(one.capacity),
                "verdict": one.fit.value,
                "items": {item.name: round(item.nbytes) for item in one.items},
            }
            for one in plan.budgets
        ],
        "stages": [
            {
                "name": one.stage,
                "trainer_s": round(one.trainer_s, 2),
                "engine_s": round(one.engine_s, 2),
                "step_s": round(one.step_s, 2),
                "update_s": round(one.update.seconds, 2),
            }
            for one in plan.stages
        ],
    }
