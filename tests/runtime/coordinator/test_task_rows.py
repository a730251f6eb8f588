"""Whose a task row is: from here to the rollout pods it names its domain as `spec.domains` does."""

from typing import Any

import pytest

from sea_data.formats import rl
from sea_runtime.coordinator.errors import BadRowError
from sea_runtime.coordinator.task_rows import task_row


def row(**changes: Any) -> dict[str, Any]:
    scenario = {"instructions": {"domain": "retail", "reason_for_call": "Cancel it."}}
    return {"id": "retail_1", "user_scenario": scenario, "evaluation_criteria": "{}", **changes}


@pytest.mark.parametrize(
    ("changes", "domains", "wanted"),
    [
        ({}, ["retail", "shop"], "retail"),
        ({}, ["shop", "tau2:retail"], "tau2:retail"),
        ({}, ["retail", "tau2:retail"], "retail"),
        ({"domain": "tau2:retail"}, ["retail", "tau2:retail"], "tau2:retail"),
        ({"domain": "library"}, ["my-library:library"], "my-library:library"),
        ({"user_scenario": {}, "id": "library_7"}, ["my-library:library"], "my-library:library"),
    ],
)
def test_the_row_goes_on_under_the_listed_name(
    changes: dict[str, Any], domains: list[str], wanted: str
) -> None:
    found = task_row("s3://b/rl.jsonl", 3, row(**changes), domains, None)
    assert found.domain == wanted
    assert rl.task(found.task).domain == wanted, "as a worker reads it in its lease"


def test_a_row_that_says_it_right_is_left_as_it_is() -> None:
    assert "domain" not in task_row("f", 1, row(), ["retail"], None).task


@pytest.mark.parametrize(
    ("domains", "sentence"),
    [
        (["shop"], "rl.jsonl line 3: the row belongs to the domain 'retail', but spec.domains"),
        (["a:retail", "tau2:retail"], "line 3: .* a:retail and tau2:retail of spec.domains"),
    ],
)
def test_a_row_of_no_listed_domain_or_of_two(domains: list[str], sentence: str) -> None:
    with pytest.raises(BadRowError, match=sentence) as raised:
        task_row("s3://b/rl.jsonl", 3, row(), domains, None)
    assert raised.value.problem.reason == "UnknownDomain"
