"""When a save that another one replaces stops waiting for a store that is away."""

from typing import Any

import pytest

from sea_runtime.trainer.checkpoint.pending_save import (
    HICCUP_SECONDS,
    ROW_SECONDS,
    PendingSave,
    Position,
)


@pytest.mark.parametrize(
    ("needed", "replaced", "failures", "given_up"),
    [
        # A finished upload isn't discarded for one answer of a busy store.
        (False, True, [0.0], False),
        (False, True, [0.0, HICCUP_SECONDS - 1], False),
        (False, True, [0.0, HICCUP_SECONDS], True),
        (False, True, [0.0, ROW_SECONDS], False),
        (False, True, [0.0, ROW_SECONDS, ROW_SECONDS + HICCUP_SECONDS], True),
        (False, False, [0.0, HICCUP_SECONDS], False),
        (True, True, [0.0, HICCUP_SECONDS], False),
    ],
)
def test_a_row_of_failures_ends_a_save_that_another_one_replaces(
    needed: bool, replaced: bool, failures: list[float], given_up: bool
) -> None:
    now = iter(failures)
    layout: Any = None
    save = PendingSave(Position(3, 3), layout, needed, clock=lambda: next(now))
    if replaced:
        save.replaced.set()
    assert [save.gives_up() for _ in failures][-1] is given_up


def test_a_call_that_succeeds_ends_the_row() -> None:
    now = iter([0.0, HICCUP_SECONDS])
    layout: Any = None
    save = PendingSave(Position(3, 3), layout, needed=False, clock=lambda: next(now))
    save.replaced.set()
    assert not save.gives_up()
    save.persist(lambda: None)
    assert not save.away
    assert not save.gives_up()
