"""What fails next to training, as the trainer reports it and as the job shows it."""

import asyncio
from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer

from sea_api.wire.state import Problem, Severity
from sea_runtime.client.calls import StaleAttemptError
from sea_runtime.client.sync_client import CoordinatorClient
from sea_runtime.coordinator.app import Components, serve
from sea_runtime.coordinator.training import REPORT_SECONDS, background_problem
from sea_runtime.wire.trainer import BackgroundFailure, BackgroundFailures, BackgroundWork
from sea_testing.coordinator import inprocess as kit

CHECKPOINT = BackgroundFailure(work=BackgroundWork.CHECKPOINT, message="No room.")
EXPORT = BackgroundFailure(work=BackgroundWork.EXPORT, message="No rights.")


@pytest.fixture
def clock() -> kit.Clock:
    return kit.Clock()


@pytest.fixture
def core(tmp_path: Path, clock: kit.Clock) -> Components:
    return kit.coordinator(tmp_path, kit.desired(kit.spec()), clock)


def shown(core: Components) -> Problem | None:
    core.controller.find_problems()
    return core.state.assemble().problem


def report(core: Components, *failures: BackgroundFailure) -> None:
    core.training.report_failures("rl", BackgroundFailures(attempt=1, failures=list(failures)))


def test_a_failure_next_to_training_is_the_jobs_warning_until_it_ends(core: Components) -> None:
    report(core, CHECKPOINT)
    found = kit.some(shown(core))
    assert (found.reason, found.severity) == ("CheckpointsFail", Severity.WARNING)
    assert found.message == "Stage 'rl': No room."
    report(core)
    assert shown(core) is None


def test_a_failure_goes_with_the_trainer_that_reported_it(
    core: Components, clock: kit.Clock
) -> None:
    """It repeats itself each second; one that has ended can't take its report back."""
    report(core, CHECKPOINT)
    clock.now += REPORT_SECONDS
    assert shown(core) is not None
    clock.now += 1
    assert shown(core) is None


def test_checkpoints_are_named_before_exports_and_both_are_said() -> None:
    found = kit.some(background_problem("rl", [EXPORT, CHECKPOINT]))
    assert found.reason == "CheckpointsFail"
    assert found.message == "Stage 'rl': No room. No rights."
    assert background_problem("rl", []) is None


async def test_an_attempt_that_has_ended_reports_nothing(core: Components) -> None:
    async with TestServer(serve(core, "token")) as server:
        trainer = CoordinatorClient(str(server.make_url("")), "token", retry_timeout=0.0)
        message = BackgroundFailures(attempt=1, failures=[CHECKPOINT])
        await asyncio.to_thread(trainer.background_failures, "rl", message)
        assert shown(core) is not None
        core.training.report_failures("rl", BackgroundFailures(attempt=1, failures=[]))
        core.job.adopt(kit.desired(kit.spec(), attempt=2))
        with pytest.raises(StaleAttemptError):
            await asyncio.to_thread(trainer.background_failures, "rl", message)
        assert shown(core) is None
