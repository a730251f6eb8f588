"""Bytes per GPU: counts against the weight map and against published sums."""

import dataclasses
import math
import random

import pytest

from sea_api.limits import MAX_EPISODES
from sea_api.v1alpha1.data import Precision
from sea_api.v1alpha1.policy import Checkpoint
from sea_api.v1alpha1.roles import TrainerParallelism
from sea_api.v1alpha1.trainer_memory import OptimizerMemory, Recomputation
from sea_runtime.parallel import parallel_layout, weight_map
from sea_runtime.parallel.hf_config import ModelShape
from sea_runtime.parallel.parallel_layout import LayoutError, ParallelLayout
from sea_runtime.planner import (
    activations,
    engine_memory,
    gpus,
    host_memory,
    parameters,
    trainer_memory,
    transfers,
)
from sea_runtime.planner.engine_memory import EngineSetup
from sea_runtime.planner.trainer_memory import TrainerSetup

CHOICES = (Recomputation.NONE, Recomputation.SELECTIVE, Recomputation.FULL)
"""Each keeps less than the one before."""


def layout(shape: ModelShape, world: int, **ways: int) -> ParallelLayout:
    return parallel_layout.plan(TrainerParallelism(**ways), shape, world)


def random_shape(choose: random.Random) -> ModelShape:
    kv_heads = choose.choice([1, 2, 4])
    experts = choose.choice([0, 8, 16])
    return ModelShape(
        layers=choose.randint(1, 9),
        hidden=choose.choice([32, 64]),
        heads=kv_heads * choose.choice([1, 2, 4]),
        kv_heads=kv_heads,
        head_dim=choose.choice([8, 16]),
        ffn=choose.choice([64, 128]),
        experts=experts,
        experts_per_token=2 if experts else 0,
        expert_ffn=32 if experts else 0,
        normalize_top_k=True,
        vocabulary=choose.choice([128, 256]),
        tied=choose.random() < 0.5,
        rope_theta=1e4,
        norm_eps=1e-6,
        context=512,
    )


def random_case(seed: int) -> tuple[ModelShape, ParallelLayout] | None:
    choose = random.Random(seed)
    shape = random_shape(choose)
    ways = {name: choose.choice([1, 2, 4]) for name in ("tensor", "pipeline", "expert")}
    try:
        return shape, layout(shape, choose.choice([4, 8, 16]), **ways)
    except (LayoutError, ValueError):
        return None


def test_a_rank_holds_as_much_as_the_weight_map_says() -> None:
    """For random shapes and layouts."""
    cases = [case for case in map(random_case, range(300)) if case is not None]
    assert len(cases) > 50
    for shape, plan in cases:
        for place in plan.places:
            held = weight_map.parameter_shapes(shape, place)
            exact = sum(_product(size) for size in held.values())
            count = parameters.of_rank(shape, plan, place.stage)
            assert count.total == exact, (shape, plan, place.rank)


def _product(sizes: tuple[int, ...]) -> int:
    found = 1
    for size in sizes:
        found *= size
    return found


def test_a_model_holds_as_much_as_its_tensors() -> None:
    for seed in range(50):
        shape = random_shape(random.Random(seed))
        exact = sum(_product(size) for size in weight_map.tensor_shapes(shape).values())
        assert parameters.of_model(shape).total == exact
        assert transfers.tensors(shape) == len(weight_map.tensor_shapes(shape))


def test_sums_of_the_reference_model(large: ModelShape) -> None:
    """235.09 billion parameters, 36,945 tensors; vLLM's own loader gave the engines' bytes."""
    assert parameters.of_model(large).total == 235_093_634_560
    assert transfers.tensors(large) == 36_945
    assert parameters.active(large) == pytest.approx(22e9, rel=0.03)
    measured = {8: 58.96e9, 1: 470.19e9}
    for tensor, nbytes in measured.items():
        assert engine_memory.parameters_per_gpu(large, tensor) * 2 == pytest.approx(
            nbytes, rel=1e-3
        )
    plan = layout(large, 48, tensor=4, pipeline=12, expert=4)
    held = [parameters.of_rank(large, plan, stage).total for stage in range(12)]
    assert min(held) == pytest.approx(4.51e9, rel=2e-3)
    assert max(held) == pytest.approx(4.98e9, rel=2e-3)
    assert plan.stage_layers == (7, *[8] * 10, 7)


def test_states_of_the_reference_run(large: ModelShape) -> None:
    """18 bytes per parameter where nothing is replicated: 89.6 GB."""
    plan = layout(large, 48, tensor=4, pipeline=12, expert=4)
    setup = TrainerSetup(large, plan, 2, 32768, microbatches=90, recomputation=Recomputation.FULL)
    stored = {"weights", "gradients (FP32)", "optimizer states"}
    states = [item.nbytes for item in trainer_memory.items(setup, 1) if item.name in stored]
    assert sum(states) == pytest.approx(89.6e9, rel=3e-3)


def test_optimizer_states_are_shared_by_the_replicas(large: ModelShape) -> None:
    alone = layout(large, 48, tensor=4, pipeline=12, expert=4)
    four = dataclasses.replace(alone, world_size=192)
    one, shared = (
        trainer_memory.optimizer_bytes(
            TrainerSetup(large, plan, 2, 32768, 1), parameters.of_rank(large, plan, 1)
        )
        for plan in (alone, four)
    )
    assert shared == pytest.approx(one / 4)


def test_recomputation_keeps_less_and_the_planner_takes_the_least_that_fits(
    large: ModelShape,
) -> None:
    plan = layout(large, 48, tensor=4, pipeline=12, expert=4)
    kept = [activations.layer_elements(large, plan, one) for one in CHOICES]
    assert kept == sorted(kept, reverse=True)
    setup = TrainerSetup(large, plan, 2, 32768, microbatches=90)
    needs = {
        one: trainer_memory.total(
            trainer_memory.items(dataclasses.replace(setup, recomputation=one), 0)
        )
        for one in CHOICES
    }
    for number, one in enumerate(CHOICES):
        found = trainer_memory.choose(setup, 1.2 * needs[one]).recomputation
        assert CHOICES.index(found) <= number
    assert trainer_memory.choose(setup, 0).recomputation is Recomputation.FULL


def test_offloaded_states_are_there_while_nothing_is_computed(large: ModelShape) -> None:
    plan = layout(large, 48, tensor=4, pipeline=12, expert=4)
    setup = TrainerSetup(large, plan, 2, 32768, 90, recomputation=Recomputation.FULL)
    offloaded = dataclasses.replace(setup, optimizer=OptimizerMemory(offload=True))
    states = trainer_memory.optimizer_bytes(setup, parameters.of_rank(large, plan, 1))
    computing = trainer_memory.total(trainer_memory.items(setup, 1)) - states
    found = trainer_memory.total(trainer_memory.items(offloaded, 1))
    assert found == pytest.approx(max(computing, found), rel=0.05)
    assert found < trainer_memory.total(trainer_memory.items(setup, 1))
    halved = dataclasses.replace(setup, optimizer=OptimizerMemory(moments=Precision.BF16))
    held = parameters.of_rank(large, plan, 1)
    assert trainer_memory.optimizer_bytes(halved, held) == 8 * held.total


@pytest.mark.parametrize(
    ("asked", "taken"),
    [(0, 0), (1, 1), (2, 2), (3, 4), (1 << 20, 1 << 20), ((1 << 20) + 1, 1 << 21)],
)
def test_pinned_memory_is_rounded_up_to_powers_of_two(asked: int, taken: int) -> None:
    assert host_memory.pinned_bytes(asked) == taken


def test_copies_of_the_state_are_counted_as_pinned(large: ModelShape) -> None:
    """The reference run's 58.8 GB per rank take 68.7 GB; what is uploaded in parts isn't pinned."""
    setup = TrainerSetup(large, layout(large, 48, tensor=4, pipeline=12, expert=4), 2, 32768, 8)
    name = "copy of the state for the upload"
    copied = host_items(setup, Checkpoint(max_staging_bytes=1 << 40))[name]
    assert copied == 8 * (1 << 36)
    in_parts = host_items(setup, Checkpoint(max_staging_bytes=1 << 30))[name]
    assert in_parts == 8 * host_memory.UPLOADED_BYTES


def host_items(setup: TrainerSetup, checkpoint: Checkpoint) -> dict[str, float]:
    """Bytes of a pod of eight ranks, by name."""
    return {one.name: one.nbytes for one in host_memory.trainer_pod(setup, 8, checkpoint)}


def test_offloaded_states_are_a_pinned_buffer_per_tensor() -> None:
    """One layer in FP32 on one GPU: two moments of each parameter, each rounded by itself."""
    shape = dataclasses.replace(random_shape(random.Random(0)), layers=1, hidden=48)
    place = layout(shape, 1).places[0]
    setup = TrainerSetup(shape, place.layout, 4, 512, 1, optimizer=OptimizerMemory(offload=True))
    wanted = 0
    for rows in weight_map.parameter_shapes(shape, place).values():
        size = 4 * math.prod(rows)
        rounded = 1
        while rounded < size:
            rounded *= 2
        wanted += 2 * rounded
    found = host_items(setup, Checkpoint())["optimizer states, offloaded"]
    assert found == pytest.approx(8 * wanted)
    assert found > 8 * trainer_memory.optimizer_bytes(
        setup, parameters.of_rank(shape, place.layout, 0)
    )


def test_early_pipeline_stages_keep_more_microbatches(large: ModelShape) -> None:
    plan = layout(large, 48, tensor=4, pipeline=12, expert=4)
    assert [activations.in_flight(plan, stage, 90) for stage in (0, 5, 11)] == [12, 7, 1]
    assert activations.in_flight(plan, 0, 3) == 3


def test_keys_and_values_of_fewer_heads_than_gpus_are_kept_on_several(large: ModelShape) -> None:
    sizes = {
        tensor: engine_memory.kv_token_bytes(EngineSetup(large, tensor, 2, 32768))
        for tensor in (1, 4, 8)
    }
    assert sizes == {1: 4 * sizes[4], 4: 48_128, 8: 48_128}


def test_the_cache_holds_what_is_left(large: ModelShape) -> None:
    setup = EngineSetup(large, 8, 2, 32768)
    cache = engine_memory.kv_cache(setup, gpus.H200.memory, 10_000, 300)
    assert cache.asked == setup.episodes == MAX_EPISODES
    assert cache.tokens * 48_128 <= cache.nbytes
    assert 40 < cache.sequences_full < 50
    assert engine_memory.kv_cache(setup, 60e9, 10_000, 1).tokens == 0
