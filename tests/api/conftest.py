"""Building jobs from patches, and asking both judges: the models and the API server."""

import copy
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from sea_api.v1alpha1.base import refused_changes
from sea_api.v1alpha1.job import SEATrainingJob
from sea_devcluster.api import KubeApi
from sea_devcluster.errors import ApiError
from sea_testing.fixture_types import BuildJob, Judge, Manifest
from sea_testing.merge_patch import merged


@pytest.fixture(scope="session")
def job(root: Path) -> BuildJob:
    """`job(patch)` -> the base job of `cases/base.yaml` with the patch in it."""
    base = yaml.safe_load((root / "tests" / "api" / "cases" / "base.yaml").read_text())

    def build(patch: Manifest | None = None) -> Manifest:
        result: Manifest = merged(copy.deepcopy(base), patch or {})
        return result

    return build


@pytest.fixture(scope="session")
def models() -> Judge:
    """`models(new, old=None)` -> None if the pydantic models accept, else what they object to."""

    def judge(new: Manifest, old: Manifest | None = None) -> str | None:
        try:
            accepted = SEATrainingJob.model_validate(new)
        except ValidationError as error:
            return "\n".join(f"{_path(e['loc'])}: {e['msg']}" for e in error.errors())
        broken = refused_changes(SEATrainingJob.model_validate(old), accepted) if old else []
        return "\n".join(broken) or None

    return judge


@pytest.fixture(scope="session")
def server(kube: KubeApi, crd: Manifest) -> Judge:
    """`server(new, old=None)` -> None if the API server accepts, else its message."""

    def judge(new: Manifest, old: Manifest | None = None) -> str | None:
        jobs = _collection(new)
        try:
            if old is None:
                kube.request("POST", f"{jobs}?dryRun=All&fieldValidation=Strict", new)
                return None
            kube.request("POST", jobs, old)
            if "status" in old:
                _write_status(kube, f"{jobs}/{new['metadata']['name']}", old["status"])
            return _dry_run_update(kube, f"{jobs}/{new['metadata']['name']}", new)
        except ApiError as error:
            return str(error)
        finally:
            if old is not None:
                kube.request("DELETE", f"{jobs}/{new['metadata']['name']}")

    return judge


def _write_status(kube: KubeApi, path: str, status: Manifest) -> None:
    """As the operator does it: a job is created without one."""
    kube.request("PUT", f"{path}/status", merged(kube.get(path), {"status": status}))


def _dry_run_update(kube: KubeApi, path: str, new: Manifest) -> str | None:
    stored = kube.get(path)
    version = stored["metadata"]["resourceVersion"]
    update = merged(new, {"metadata": {"resourceVersion": version}})
    try:
        kube.request("PUT", f"{path}?dryRun=All&fieldValidation=Strict", update)
    except ApiError as error:
        return str(error)
    return None


def _collection(job: Manifest) -> str:
    namespace = job["metadata"].get("namespace", "default")
    return f"/apis/sea-operator.io/v1alpha1/namespaces/{namespace}/seatrainingjobs"


def _path(location: tuple[int | str, ...]) -> str:
    """A pydantic location as the API server writes it: `spec.stages[0].name`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return text.removeprefix(".")
