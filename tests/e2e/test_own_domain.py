"""A job in a domain of another package, on real pods: Stalled by a typo, mended, Complete."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sea_devcluster.demo import object_store
from sea_testing import own_domain

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(5400)]

ROOT = Path(__file__).parents[2]
STAGES = [
    {
        "name": "make",
        "type": "Synthesis",
        "synthesis": {"tasksPerDomain": 8, "plans": 4, "worlds": 1, "worldSize": "Small"},
    },
    {
        "name": "eval",
        "type": "Evaluation",
        "evaluation": {"trials": 1, "maxTasks": 4, "maxTokensPerTurn": 8, "maxTurns": 2},
    },
]


@pytest.fixture
def packages() -> Iterator[Path]:
    """A folder with the package that pods can see: they have a /tmp of their own."""
    folder = ROOT / "out" / f"e2e-packages-{os.getpid()}"
    folder.mkdir(parents=True)
    own_domain.write(folder)
    yield folder
    shutil.rmtree(folder)


def test_a_domain_of_another_package(
    e2e: Any, wait_for: Callable[..., Any], condition: Callable[..., Any], packages: Path
) -> None:
    template = {"env": [{"name": "PYTHONPATH", "value": str(packages)}]}
    manifest = e2e.manifest(
        "library", STAGES, domains=["my-library:libary"], userModel={"engine": "Scripted"}, data={}
    )
    for role in ("coordinator", "rollout"):
        manifest["spec"][role] = {**manifest["spec"].get(role, {}), "template": template}
    object_store.ensure_bucket(manifest, e2e.target.server)
    read = e2e.submit(manifest)
    stalled = wait_for("Stalled", lambda: unknown_domain(condition(read(), "Stalled")))
    assert "my-library is installed here, but brings no domain 'libary'" in stalled["message"]
    manifest["spec"]["domains"] = [own_domain.NAME]
    e2e.edit(manifest)
    wait_for("the job's end", lambda: condition(read(), "Complete")["status"] == "True")
    status = read()["status"]
    scores = {one["domain"]: one for one in status["evaluation"]}
    assert scores[own_domain.NAME]["episodes"] == 4
    rows = e2e.objects(status).read("stages/make/data/my-library.library/rl.jsonl")
    assert len(rows.splitlines()) == 8
    e2e.delete(manifest)


def unknown_domain(found: dict[str, Any]) -> dict[str, Any] | None:
    return found if (found["status"], found["reason"]) == ("True", "UnknownDomain") else None
