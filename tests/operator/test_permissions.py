"""The table of permissions stays least."""

from typing import Any

from sea_operator.permissions import CLUSTER, JOBS, OWN_NAMESPACE


def verbs(resource: Any) -> Any:
    return {verb for rule in JOBS if rule.resource == resource for verb in rule.verbs}


def test_secrets_are_never_listed_changed_or_deleted() -> None:
    assert verbs("secrets") == {"get", "create"}


def test_specs_are_never_written() -> None:
    assert verbs("seatrainingjobs") == {"get", "list", "watch"}
    assert verbs("seatrainingjobs/status") == {"patch"}


def test_pods_are_never_created_or_entered() -> None:
    assert verbs("pods") == {"get", "list", "watch", "delete"}
    assert verbs("pods/log") == {"get"}
    assert {rule.resource for rule in JOBS if rule.resource.startswith("pods/")} == {"pods/log"}


def test_no_wildcards() -> None:
    for rule in (*JOBS, *CLUSTER, *OWN_NAMESPACE):
        assert "*" not in (rule.group, rule.resource, *rule.verbs)
