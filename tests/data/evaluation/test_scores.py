"""Scores of an evaluation: by domain, on average, with intervals."""

import pytest

from sea_data.evaluation import scores


def test_results_by_domain_and_on_average() -> None:
    """pass^k over tasks; the average is over domains, as published tables have it."""
    found = scores.results(
        "eval",
        {
            "shop": {"a": [True] * 4, "b": [True, True, False, False]},
            "retail": {"c": [False] * 4},
        },
    )
    retail, shop, average = found
    assert [item.domain for item in found] == ["retail", "shop", "average"]
    assert (shop.tasks, shop.episodes) == (2, 8)
    assert shop.pass_hat1 == pytest.approx(75.0)
    assert shop.pass_hat2 == pytest.approx(100 * (1 + 1 / 6) / 2)
    assert shop.pass_hat4 == pytest.approx(50.0)
    assert shop.pass_at4 == pytest.approx(100.0)
    assert retail.pass_hat1 == retail.pass_at4 == 0.0
    assert (average.tasks, average.episodes) == (3, 12)
    assert average.pass_hat1 == pytest.approx(37.5)
    assert average.pass_at4 == pytest.approx(50.0)


def test_trials_without_a_verdict_are_left_out() -> None:
    """A task with fewer trials has no pass^4; one without any doesn't exist."""
    (shop, average) = scores.results(
        "eval", {"shop": {"a": [True, False], "b": []}, "retail": {"c": []}}
    )
    assert (shop.tasks, shop.episodes, shop.pass_hat1) == (1, 2, 50.0)
    assert shop.pass_hat4 is None
    assert average.pass_hat4 is None
    assert scores.results("eval", {"shop": {"a": []}}) == []


def test_a_measure_about_some_tasks_only_says_so() -> None:
    """tau2-bench would leave out pass^3 and pass^4: one figure then is about other tasks."""
    trials = {"shop": {"a": [True] * 4, "b": [True] * 2}, "retail": {"c": [True] * 4}}
    assert list(scores.fewer_trials(trials)) == [
        "shop: pass^3 of 1 of 2 tasks; the others have fewer trials with a verdict.",
        "shop: pass^4 and pass@4 of 1 of 2 tasks; the others have fewer trials with a verdict.",
    ]
    assert not list(scores.fewer_trials({"shop": {"a": [True] * 4, "b": []}}))
