"""Whole jobs: the reference run and what is said of jobs that don't fit."""

import dataclasses
from typing import Any

import pytest

from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.roles import TrainerParallelism
from sea_runtime.parallel import parallel_layout
from sea_runtime.parallel.parallel_layout import LayoutError
from sea_runtime.planner import gpus, host_memory, page, workload
from sea_runtime.planner.budgets import Budget, Fit
from sea_runtime.planner.job_plan import POLICY, Known, plan
from sea_runtime.planner.trainer_memory import Item
from sea_runtime.planner.workload import Workload


def budgets(spec: Spec, known: Known) -> dict[str, Budget]:
    return {one.name: one for one in plan(spec, known).budgets}


def test_the_reference_run_fits_its_gpus(reference: Spec, known: Known) -> None:
    found = budgets(reference, known)
    for name in ("trainer", "rollout", "user model", "trainer (user model)"):
        assert found[name].fit is Fit.FITS, found[name]
    trainer = found["trainer"]
    assert trainer.capacity is not None
    # docs/performance.md: about 105 of 150 GB, without any offload.
    assert 95e9 < trainer.needed < 125e9
    assert found["trainer's pod"].fit is Fit.FITS


def test_the_reference_run_fits_with_margins(reference: Spec, known: Known) -> None:
    found = plan(reference, known)
    assert found.fit is Fit.FITS
    margins = {one.name: 1 - one.needed / one.capacity for one in found.budgets if one.capacity}
    assert len(margins) == len(found.budgets)
    assert min(margins.values()) > 0.15


def test_what_does_not_fit_says_where_how_much_and_what_to_do(manifest: Any, known: Known) -> None:
    limits = manifest["spec"]["rollout"]["template"]
    limits["limits"]["memory"] = limits["requests"]["memory"] = "256Gi"
    found = plan(Spec.model_validate(manifest["spec"]), known)
    (sentence,) = found.sentences(Fit.DOES_NOT_FIT)
    assert sentence.startswith("Each pod of the rollout needs 956.4 GB of 274.9 GB")
    assert sentence.endswith("raise template.limits.memory.")


def test_the_reference_model_spread_by_experts_alone_does_not_fit(
    manifest: Any, known: Known
) -> None:
    manifest["spec"]["trainer"]["parallelism"] = {"expert": 16}
    found = budgets(Spec.model_validate(manifest["spec"]), known)["trainer"]
    assert found.fit is Fit.DOES_NOT_FIT
    assert "trainer.parallelism" in found.sentence()


def test_a_layout_that_the_model_refuses_is_a_sentence(manifest: Any, known: Known) -> None:
    manifest["spec"]["trainer"] |= {"replicas": 3, "parallelism": {"expert": 24}}
    with pytest.raises(LayoutError, match="divide"):
        plan(Spec.model_validate(manifest["spec"]), known)


@pytest.mark.parametrize(
    ("needed", "fit"),
    [
        (80.0, Fit.FITS),
        (90.0, Fit.FITS),
        (95.0, Fit.TIGHT),
        (109.0, Fit.TIGHT),
        (111.0, Fit.DOES_NOT_FIT),
    ],
)
def test_a_verdict_knows_its_own_error(needed: float, fit: Fit) -> None:
    found = Budget("x", "each pod", (Item("a", needed),), 100.0, "raise it")
    assert found.fit is fit


def test_a_place_without_a_limit_fits() -> None:
    assert Budget("x", "each pod", (Item("a", 1e15),), None, "raise it").fit is Fit.FITS


def test_unknown_gpus_and_models_are_named_instead_of_guessed(
    reference: Spec, known: Known
) -> None:
    unknown = dataclasses.replace(known, trainer_gpu=None, shapes={POLICY: known.shapes[POLICY]})
    found = plan(reference, unknown)
    assert [note for note in found.notes if "trainer" in note]
    assert [note for note in found.notes if "user model" in note]
    assert not found.stages
    nothing = plan(reference, Known({}))
    assert nothing.budgets == ()
    assert nothing.fit is Fit.FITS


def test_the_selector_of_nodes_names_the_kind(manifest: Any) -> None:
    spec = Spec.model_validate(manifest["spec"])
    assert gpus.selected(spec, spec.trainer.template) is gpus.H200
    manifest["spec"]["trainer"]["template"]["nodeSelector"] = {
        "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"
    }
    spec = Spec.model_validate(manifest["spec"])
    assert gpus.selected(spec, spec.trainer.template) is gpus.H100
    manifest["spec"]["scheduling"] = {}
    spec = Spec.model_validate(manifest["spec"])
    assert gpus.selected(spec, spec.rollout.template) is None


def test_times_of_the_reference_run(reference: Spec, known: Known) -> None:
    (stage,) = plan(reference, known).stages
    assert stage.training.microbatches > 12
    # The bubble of 12 stages: 11 idle slots next to the microbatches.
    idle = stage.training.bubble_s / stage.training.compute_s
    assert idle == pytest.approx(11 / stage.training.microbatches, rel=1e-6)
    assert stage.step_s == max(stage.trainer_s, stage.engine_s)
    assert stage.update.bytes_per_worker == pytest.approx(58.96e9, rel=1e-3)


def test_an_engine_runs_no_more_episodes_than_the_job_lets_it(manifest: Any, known: Known) -> None:
    """`rollout.maxEpisodes`, where the cache has room for more."""
    manifest["spec"]["rollout"]["maxEpisodes"] = 5
    cache = plan(Spec.model_validate(manifest["spec"]), known).cache
    assert cache is not None
    assert cache.asked == 5


def test_longer_trajectories_take_longer(reference: Spec, known: Known) -> None:
    found = [
        plan(reference, dataclasses.replace(known, workload=one)).stages[0]
        for one in (
            dataclasses.replace(plan(reference, known).stages[0].workload, mean_tokens=mean)
            for mean in (4_000.0, 8_000.0, 16_000.0)
        )
    ]
    assert [one.trainer_s for one in found] == sorted(one.trainer_s for one in found)
    assert [one.engine_s for one in found] == sorted(one.engine_s for one in found)


ROW = {"trajectories": 256.0, "tokens": 256 * 8000.0, "generated_tokens": 256 * 3000.0}


def measured(**more: float) -> Workload:
    """By a run with one step."""
    return workload.measured(workload.assumed(16, 16, 32768), [{"metrics": ROW | more}])


def test_tokens_that_a_run_did_not_compute_cost_its_plan_nothing(
    reference: Spec, known: Known
) -> None:
    """Prompts that a group shares: their attention to themselves too."""
    whole, shared = (
        plan(reference, dataclasses.replace(known, workload=measured(skipped_fraction=share)))
        for share in (0.0, 0.3)
    )
    ratio = shared.stages[0].training.compute_s / whole.stages[0].training.compute_s
    assert 0.7 < ratio < 0.78  # attention: 1 - 0.3 ** 2 is left of it
    assert shared.stages[0].training.microbatches < whole.stages[0].training.microbatches
    assert shared.stages[0].generate_s == whole.stages[0].generate_s
    assert [note for note in whole.notes if "skipped_fraction" in note]
    assert not [note for note in shared.notes if "skipped_fraction" in note]


def test_exchanges_of_their_own_attend_to_less_than_whole_trajectories(
    manifest: Any, known: Known
) -> None:
    """`thinkingHistory: Strip`: a run's metrics count its sequences."""
    manifest["spec"]["model"]["thinkingHistory"] = "Strip"
    spec = Spec.model_validate(manifest["spec"])
    one, four = (
        plan(spec, dataclasses.replace(known, workload=measured(samples=256 * count)))
        for count in (1.0, 4.0)
    )
    assert four.stages[0].training.compute_s < one.stages[0].training.compute_s
    # But for the few that are cut at the context.
    quarter = one.stages[0].workload.squared / 4
    assert four.stages[0].workload.squared == pytest.approx(quarter, rel=0.02)
    assert four.cache is not None
    assert one.cache is not None
    assert four.cache.sequences_mean == pytest.approx(4 * one.cache.sequences_mean)
    assert [note for note in one.notes if "Strip" in note]
    assert not [note for note in four.notes if "Strip" in note]


def test_exchanges_together_may_be_longer_than_the_context() -> None:
    """Each repeats the dialogue before it: only a sequence ends at the context."""
    found = measured(samples=256 * 8.0, tokens=256 * 65536.0)
    assert found.quantile(0.5) > found.context
    assert found.quantile(1 - 1e-9) == 8 * found.context
    assert found.mean_square > 65536.0**2 / 8


def test_experts_to_replay_need_memory_of_the_trainers_pods(manifest: Any, known: Known) -> None:
    """94 layers and 8 experts per token of 256 trajectories: whole on rank 0, twice while it takes
    them apart, and then in each of eight processes those of its stage's 8 layers at most."""
    before = budgets(Spec.model_validate(manifest["spec"]), known)["trainer's pod"]
    manifest["spec"]["rollout"]["routerReplay"] = True
    spec = Spec.model_validate(manifest["spec"])
    after = budgets(spec, known)["trainer's pod"]
    tokens = plan(spec, known).stages[0].workload.tokens
    assert after.needed - before.needed == pytest.approx(2 * 752 * tokens)
    (note,) = (note for note in plan(spec, known).notes if "routerReplay" in note)
    assert f"{752 * tokens / 1e9:,.1f} GB of experts" in note
    assert "coordinator.volumeSize" in note


@pytest.mark.parametrize(
    ("parallelism", "world", "ranks", "copies"),
    [
        ({"tensor": 4, "pipeline": 12, "expert": 4}, 48, 8, 2.0),
        ({"tensor": 4, "pipeline": 2, "expert": 4}, 8, 8, 8 * 47 / 94),
        ({"tensor": 4, "expert": 4}, 4, 4, 4.0),
        ({"tensor": 4, "expert": 4}, 16, 8, 8 * 2 / 4),
        ({}, 1, 1, 2.0),
    ],
    ids=["few layers per stage", "half of them", "all of them", "half of the rows", "one process"],
)
def test_a_rank_keeps_the_experts_of_its_layers_and_rows(
    parallelism: dict[str, int], world: int, ranks: int, copies: float, known: Known
) -> None:
    shape = known.shapes[POLICY]
    layout = parallel_layout.plan(TrainerParallelism(**parallelism), shape, world)
    (found,) = host_memory.replayed(1e9, ranks, shape, layout)
    assert found.nbytes == pytest.approx(copies * 1e9)


def test_the_page_is_aligned_and_names_its_sources(reference: Spec, known: Known) -> None:
    lines = list(page.lines("areal", reference, plan(reference, known)))
    assert lines[0] == "Plan of areal: fits"
    assert max(map(len, lines)) <= 132
    text = "\n".join(lines)
    for expected in ("gradients (FP32)", "KV cache", "checkpoint", "Megatron-MoE-ModelZoo"):
        assert expected in text
    assert len({len(line) for line in lines if line.startswith("  needed")}) == 1
