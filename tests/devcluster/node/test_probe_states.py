"""Probe thresholds, ports by name, and what a container's YAML becomes."""

from typing import Any

import pytest

from sea_devcluster.node.probes import ProbeSpec, ProbeState, observe, parse_probe, port_number


@pytest.mark.parametrize(
    ("success", "failure", "results", "verdicts"),
    [
        (1, 3, "+", [True]),
        (1, 3, "---", [None, None, False]),
        (1, 3, "--+---", [None, None, True, True, True, False]),
        (2, 1, "+-++", [None, False, False, True]),
        (1, 1, "+-+", [True, False, True]),
    ],
)
def test_a_verdict_needs_its_threshold_in_a_row(
    success: int, failure: int, results: str, verdicts: Any
) -> None:
    spec = ProbeSpec("readiness", {}, success_threshold=success, failure_threshold=failure)
    state, found = ProbeState(), []
    for result in results:
        state = observe(spec, state, result == "+")
        found.append(state.healthy)
    assert found == verdicts


def test_parsing_takes_what_the_api_server_filled_in() -> None:
    probe = {"exec": {"command": ["true"]}, "periodSeconds": 2, "failureThreshold": 300}
    spec = parse_probe({"startupProbe": probe}, "startup")
    assert spec is not None
    assert (spec.kind, spec.period, spec.failure_threshold) == ("startup", 2.0, 300)
    assert spec.handler == {"exec": {"command": ["true"]}}
    assert parse_probe({}, "liveness") is None


@pytest.mark.parametrize(("port", "number"), [(80, 80), ("81", 81), ("http", 8080), ("no", None)])
def test_ports_by_name(port: int | str, number: int | None) -> None:
    container = {"ports": [{"name": "http", "containerPort": 8080}]}
    assert port_number(container, port) == number
