"""Every layout finds every element that another layout saved, and reads it once."""

import functools
import itertools
import json
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from sea_api.v1alpha1.roles import TrainerParallelism
from sea_runtime.parallel import hf_config, parallel_layout
from sea_runtime.parallel.parallel_layout import ParallelLayout, Place
from sea_runtime.parallel.regions import Region
from sea_runtime.trainer.checkpoint import reshard
from sea_runtime.trainer.checkpoint.index import ParameterRun
from sea_runtime.trainer.checkpoint.reader import some_at_a_time
from sea_runtime.trainer.checkpoint.reshard import Copy, Held
from sea_runtime.trainer.errors import CheckpointError
from sea_testing.layout_state import held, runs_of, section, wanted_by

SHAPE = hf_config.parse(
    json.dumps(
        {
            "architectures": ["Qwen3MoeForCausalLM"],
            "num_hidden_layers": 4,
            "hidden_size": 8,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 2,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 4,
            "vocab_size": 21,
            "tie_word_embeddings": False,
        }
    )
)
LAYOUTS = {
    "one": (1, TrainerParallelism()),
    "data 3": (3, TrainerParallelism()),
    "tensor 2": (4, TrainerParallelism(tensor=2)),
    "pipeline 2": (2, TrainerParallelism(pipeline=2)),
    "expert 4": (4, TrainerParallelism(expert=4)),
    "all": (8, TrainerParallelism(tensor=2, pipeline=2, expert=2, expert_tensor=2)),
}


@functools.cache
def layout_of(name: str) -> ParallelLayout:
    world, requested = LAYOUTS[name]
    return parallel_layout.plan(requested, SHAPE, world)


def moved(copies: Sequence[Copy], sections: dict[int, np.ndarray], place: Place) -> Iterator[bool]:
    memory = {run.parameter: np.zeros(run.elements) for run in runs_of(SHAPE, place)}
    for whole in copies:
        for copy in some_at_a_time(whole, 12):
            for row in range(copy.rows):
                source = copy.source + row * copy.source_stride
                target = copy.target_offset + row * copy.target_stride
                found = sections[copy.rank][source : source + copy.columns]
                assert not memory[copy.target][target : target + copy.columns].any(), "read once"
                memory[copy.target][target : target + copy.columns] = found
    for run in runs_of(SHAPE, place):
        yield bool((memory[run.parameter] == held(SHAPE, place, run)).all())


@pytest.mark.parametrize("after", LAYOUTS)
@pytest.mark.parametrize("before", LAYOUTS)
def test_a_rank_gets_its_share_from_any_layout(before: str, after: str) -> None:
    places = layout_of(before).places
    runs = {place.rank: runs_of(SHAPE, place) for place in places}
    sections = {place.rank: section(SHAPE, place) for place in places}
    saved = reshard.saved_by(SHAPE, places, runs)
    for place in layout_of(after).places:
        copies = reshard.plan(list(wanted_by(SHAPE, place)), saved, prefer=place.rank)
        assert all(moved(copies, sections, place))
        if before == after:
            assert {copy.rank for copy in copies} <= {place.rank}, "its own, bit by bit"


def test_a_part_that_nobody_saved_is_named() -> None:
    place = layout_of("one").place(0)
    runs = [one for one in runs_of(SHAPE, place) if "layers.2.mlp.router" not in one.parameter]
    saved = reshard.saved_by(SHAPE, [place], {0: runs})
    with pytest.raises(CheckpointError, match=r"lacks rows 0 .* model\.layers\.2\.mlp\.gate"):
        reshard.plan(list(wanted_by(SHAPE, place)), saved)


def test_a_parameter_that_the_layout_does_not_have_is_named() -> None:
    run = ParameterRun(parameter="decoder.layers.9.weight", start=0, stop=1)
    with pytest.raises(CheckpointError, match=r"layers\.9\.weight on rank 0"):
        reshard.saved_by(SHAPE, layout_of("one").places, {0: [run]})


@pytest.mark.parametrize(
    ("start", "stop", "columns", "found"),
    [
        (0, 12, 4, [((0, 0), (3, 4))]),
        (1, 3, 4, [((0, 1), (1, 2))]),
        (3, 9, 4, [((0, 3), (1, 1)), ((1, 0), (1, 4)), ((2, 0), (1, 1))]),
        (5, 8, 1, [((5, 0), (3, 1))]),
        (7, 7, 4, []),
    ],
)
def test_a_run_is_up_to_three_rectangles(
    start: int, stop: int, columns: int, found: list[tuple[tuple[int, int], tuple[int, int]]]
) -> None:
    assert [(one.start, one.shape) for one in reshard.rectangles(start, stop, columns)] == found


def test_what_is_left_of_a_region_has_no_element_twice() -> None:
    whole = Region((0, 0), (4, 5))
    for top, left, rows, columns in itertools.product(range(3), range(3), (1, 3), (1, 4)):
        hole = Region((top, left), (rows, columns))
        marks = np.zeros((4, 5), int)
        common = whole.intersection(hole)
        assert common is not None
        for part in (*reshard.without(whole, hole), common):
            marks[part.within(whole)] += 1
        assert (marks == 1).all()
    assert reshard.without(whole, Region((9, 9), (1, 1))) == [whole]
    assert Held(whole, 7, 5).part(Region((2, 3), (1, 2))).offset == 7 + 2 * 5 + 3
