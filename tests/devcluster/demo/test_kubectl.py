"""The demo's kubectl: its cache, and the errors of a new CRD that it waits out."""

from pathlib import Path

import pytest

from sea_devcluster.demo import kubectl
from sea_devcluster.demo.kubectl import Kubectl
from sea_devcluster.errors import DemoError

NULL = (
    "error: .status.conditions accessor error: <nil> is of the type <nil>, expected []interface{}"
)
BUSY = "Error from server (TooManyRequests): storage is (re)initializing"
UNKNOWN = 'no matches for kind "SEATrainingJob" in version "sea-operator.io/v1alpha1"'
UNSERVED = "Error from server (NotFound): the server could not find the requested resource"


def test_the_cache_of_discovery_goes_with_the_cluster(tmp_path: Path) -> None:
    """Regression: each cluster left a folder of its address in ~/.kube/cache."""
    said = Kubectl("echo", tmp_path / "kubeconfig").run("get", "nodes")
    assert f"--cache-dir {tmp_path / 'kubectl-cache'}" in said
    assert said.endswith("get nodes\n")
    assert Kubectl("echo", None).run("get", "nodes") == "get nodes\n"


class Steps:
    """Fails with each sentence in turn, then succeeds."""

    def __init__(self, *sentences: str) -> None:
        self.left = list(sentences)
        self.pauses: list[float] = []

    def __call__(self) -> None:
        if self.left:
            raise DemoError(self.left.pop(0))

    def run(self) -> None:
        kubectl.retry_while_crd_is_new(self, self.pauses.append)


@pytest.mark.parametrize(
    "sentences", [(), (NULL,), (BUSY, BUSY), (NULL, BUSY), (UNKNOWN, UNSERVED)]
)
def test_what_passes_is_waited_for(sentences: tuple[str, ...]) -> None:
    steps = Steps(*sentences)
    steps.run()
    assert (steps.left, len(steps.pauses)) == ([], len(sentences))


@pytest.mark.parametrize(
    ("sentences", "raised", "pauses"),
    [
        (("forbidden",), "forbidden", 0),
        ((BUSY, "timed out waiting for the condition"), "timed out", 1),
        ((NULL,) * kubectl.MAX_CRD_ATTEMPTS, "accessor", kubectl.MAX_CRD_ATTEMPTS - 1),
    ],
)
def test_anything_else_and_the_last_attempt_are_raised(
    sentences: tuple[str, ...], raised: str, pauses: int
) -> None:
    steps = Steps(*sentences)
    with pytest.raises(DemoError, match=raised):
        steps.run()
    assert len(steps.pauses) == pauses
