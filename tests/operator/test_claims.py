"""Two operators on one job: one acts, the other stands aside, and neither fights."""

import itertools

import pytest

from sea_operator.claims import ASIDE_SECONDS, CLAIM_SECONDS, RIVAL_SECONDS, Claim, Claims
from sea_testing.hand_clock import HandClock

KEY = ("n", "j")


def test_a_job_without_a_name_or_with_ours_is_ours() -> None:
    claims = Claims("a/x", HandClock())
    assert claims.judge(KEY, None) is Claim.ACT
    claims.wrote(KEY)
    assert claims.judge(KEY, "a/x") is Claim.ACT


def test_after_a_reinstallation_elsewhere_the_job_is_taken_over_after_a_pause() -> None:
    clock = HandClock()
    claims = Claims("b/x", clock)
    assert claims.judge(KEY, "a/x") is Claim.ANNOUNCE
    claims.wrote(KEY)
    clock.now += CLAIM_SECONDS - 0.1
    assert claims.judge(KEY, "b/x") is Claim.ANNOUNCE
    clock.now += 0.1
    assert claims.judge(KEY, "b/x") is Claim.ACT


def test_an_announcement_that_was_not_written_is_repeated() -> None:
    claims = Claims("b/x", HandClock())
    for _ in range(3):
        assert claims.judge(KEY, "a/x") is Claim.ANNOUNCE


@pytest.mark.parametrize("order", list(itertools.permutations(["a/x", "b/x"])))
def test_of_two_that_live_the_lesser_name_acts_alone(order: tuple[str, str]) -> None:
    """`order`: who was there first. Passes take turns, as they come."""
    clock = HandClock()
    operators = [Claims(name, clock) for name in order]
    stored: str | None = None
    acted: list[tuple[float, str]] = []
    for round_ in range(40):
        # The second one starts when the first has worked for a while.
        for operator in operators if round_ >= 5 else operators[:1]:
            claim = operator.judge(KEY, stored)
            if claim is Claim.STAND_ASIDE:
                continue
            if claim is Claim.ACT:
                acted.append((clock.now, operator.me))
            stored = operator.me
            operator.wrote(KEY)
        clock.now += 1.0
    both = [name for time, name in acted if time >= 1005.0]
    assert len(list(itertools.groupby(both))) <= 2, "no turns"
    assert acted[-1][1] == "a/x"
    assert stored == "a/x"


def test_who_stood_aside_looks_again_later() -> None:
    clock = HandClock()
    claims = Claims("b/x", clock)
    claims.judge(KEY, None)
    claims.wrote(KEY)
    assert claims.judge(KEY, "a/x") is Claim.STAND_ASIDE
    clock.now += ASIDE_SECONDS - 1.0
    assert claims.judge(KEY, "a/x") is Claim.STAND_ASIDE
    clock.now += 1.0
    assert claims.judge(KEY, "a/x") is Claim.ANNOUNCE
    claims.forget(KEY)
    assert (claims._ours, claims._announced, claims._aside, claims._rivals) == (set(), {}, {}, {})


def test_who_goes_on_names_the_other_for_as_long_as_that_claims_the_job() -> None:
    clock = HandClock()
    claims = Claims("a/x", clock)
    claims.judge(KEY, None)
    claims.wrote(KEY)
    assert claims.rival(KEY) is None
    assert claims.judge(KEY, "b/x") is Claim.ACT
    for _ in range(2):
        clock.now += ASIDE_SECONDS + CLAIM_SECONDS
        assert claims.rival(KEY) == "b/x"
        claims.judge(KEY, "b/x")
    clock.now += RIVAL_SECONDS
    assert claims.rival(KEY) is None
