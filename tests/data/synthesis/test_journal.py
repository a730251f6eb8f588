"""Errors of a run's journal say by their type whether waiting helps."""

from collections.abc import Collection, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from sea_data.synthesis.engine import Engine, first_event
from sea_data.synthesis.journal import FILE, Journal, JournalError, JournalTakenError
from sea_data.synthesis.plan import Cost, Failure, Item, ItemResult, Plan
from sea_data.synthesis.run_state import RunSettings


class IdleBackend:
    """Has no plans, so that nothing is made."""

    name = "idle"
    sent = answered = 0

    async def plans(self, count: int) -> list[Plan]:
        return []

    async def make(self, item: Item) -> ItemResult:
        raise AssertionError(item)

    async def reflect(
        self, plan: Plan, failures: Sequence[Failure], others: Collection[Plan]
    ) -> Plan:
        raise AssertionError(plan)

    def spent(self) -> Cost:
        return Cost()


def test_a_journal_that_another_writer_holds_is_a_transient_error(tmp_path: Path) -> None:
    with closing(Journal(tmp_path)), pytest.raises(JournalTakenError, match="wait for it") as held:
        Journal(tmp_path)
    assert not held.value.permanent


def test_a_damaged_line_is_a_permanent_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b'{"event":"begin"}\n{"event":\n')
    with closing(Journal(tmp_path)) as journal:
        events = journal.events()
        assert next(events) == {"event": "begin"}
        with pytest.raises(JournalError, match=rf"{FILE}:2 isn't valid JSON") as damaged:
            next(events)
    assert damaged.value.permanent


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 2}, "a run with seed 1, but 2 was asked for"),
        ({"databases": "other"}, "other databases: give the same --data, --worlds"),
        ({"concurrency": 5}, ""),
    ],
)
async def test_a_journal_of_other_settings_is_refused(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    given = {"domain": "retail", "count": 0, "seed": 1, "databases": "these"}
    with closing(Journal(tmp_path)) as journal:
        journal.append(first_event(RunSettings(**given)))  # type: ignore[arg-type]
        settings = RunSettings(**{**given, **change})  # type: ignore[arg-type]
        engine = Engine(settings, IdleBackend(), journal, clock=lambda: 0.0)
        if said:
            with pytest.raises(JournalError, match=said) as refused:
                await engine.run()
            assert refused.value.permanent
        else:
            assert (await engine.run()).accepted == 0
