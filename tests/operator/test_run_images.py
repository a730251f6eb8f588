"""The digest that really ran, whatever a tag means tomorrow."""

from typing import Any

import pytest

from sea_api.v1alpha1.policy import Role
from sea_operator import pod_parsing
from sea_operator.coordinator_spec import run_images
from sea_operator.decide import decide
from sea_operator.status import compute

OLD, NEW, OTHER = (f"registry/rollout@sha256:{digit * 64}" for digit in "abc")


def engine(make: Any, name: str, image: str, worker: str = "", created: float = 0.0) -> Any:
    found = (("engine", image), ("worker", worker or image)) if image else ()
    return make.pod(name, Role.ROLLOUT, images=found, created=make.now + created)


@pytest.mark.parametrize(
    ("pods", "known", "expected"),
    [
        ([("j-rollout-0", OLD)], {}, {"rollout": OLD}),
        ([("j-rollout-0", OLD), ("j-rollout-1", NEW, NEW, 5)], {}, {"rollout": NEW}),
        ([("j-rollout-0", OLD), ("j-rollout-1", "", "", 5)], {}, {"rollout": OLD}),
        ([("j-rollout-0", OLD, OTHER)], {}, {"rollout": OLD, "rollout-worker": OTHER}),
        ([("j-rollout-0", NEW)], {"rollout-worker": OTHER}, {"rollout": NEW}),
        ([], {"rollout": OLD, "trainer": NEW}, {"rollout": OLD, "trainer": NEW}),
    ],
)
def test_the_newest_pod_that_runs_says_it(
    make: Any, pods: Any, known: dict[str, str], expected: dict[str, str]
) -> None:
    job = make.job(status=make.status(images=known))
    made = tuple(engine(make, *pod) for pod in pods)
    assert run_images(make.observed(job, pods=made)) == expected


def test_status_and_coordinator_hear_of_it(make: Any) -> None:
    observed = make.observed(pods=(engine(make, "j-rollout-0", OLD),))
    plan = decide(observed, make.context())
    assert plan.coordinator_spec is not None
    assert plan.coordinator_spec.images == {"rollout": OLD}
    assert compute(observed, plan, (), make.now).images == {"rollout": OLD}


def test_it_is_what_the_kubelet_resolved() -> None:
    statuses = [
        {"name": "engine", "image": "rollout:latest", "imageID": OLD},
        {"name": "worker", "image": "rollout:latest", "imageID": ""},
        {"name": "istio-proxy", "image": "istio", "imageID": OTHER},
    ]
    meta = {"name": "p", "uid": "u", "creationTimestamp": "2027-01-15T08:00:00Z"}
    live = {"metadata": meta, "status": {"containerStatuses": statuses}}
    assert pod_parsing.pod(live).images == (("engine", OLD),)
