"""A base model from the Hugging Face hub: what a person must correct, and what passes."""

from pathlib import Path
from typing import Any

import httpx
import huggingface_hub
import pytest
from huggingface_hub import errors

from sea_api.errors import SeaError
from sea_api.wire.state import Severity
from sea_runtime.coordinator import base_model
from sea_runtime.coordinator.errors import ModelUnavailableError, PreconditionError
from sea_runtime.coordinator.ledger import stages
from sea_runtime.coordinator.problems import Source, problem_of
from sea_testing.coordinator import inprocess as kit
from sea_testing.coordinator.memory_store import MemoryStore


def answered(kind: Any, status: int) -> Exception:
    request = httpx.Request("GET", "https://hub.example/api")
    found: Exception = kind("as the test chose", response=httpx.Response(status, request=request))
    return found


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (answered(errors.RepositoryNotFoundError, 404), PreconditionError),
        (answered(errors.GatedRepoError, 403), PreconditionError),
        (answered(errors.RevisionNotFoundError, 404), PreconditionError),
        (errors.HFValidationError("not a name"), PreconditionError),
        (answered(errors.HfHubHTTPError, 503), ModelUnavailableError),
        (errors.LocalEntryNotFoundError("no network"), ModelUnavailableError),
        (httpx.ConnectTimeout("too slow"), ModelUnavailableError),
        (OSError(28, "No space left on device"), ModelUnavailableError),
    ],
)
def test_an_outage_of_the_hub_is_no_mistake_of_the_user(
    monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[SeaError]
) -> None:
    """Only a name that nobody can download stalls the job until a person acts."""

    def download(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    desired = kit.desired(kit.spec())
    model = desired.spec.model.model_copy(update={"source": "hf://owner/name"})
    desired = desired.model_copy(update={"spec": desired.spec.model_copy(update={"model": model})})
    store: Any = MemoryStore()
    with pytest.raises(kind, match="owner/name") as found:
        base_model.prepare(store, desired, "policy")
    problem = kit.some(problem_of(Source.DATA, found.value, 1))
    stalls = kind is PreconditionError
    assert problem.severity is (Severity.ERROR if stalls else Severity.WARNING)


def test_a_coordinator_that_has_just_started_names_the_base_model_of_a_stage_that_runs(
    tmp_path: Path,
) -> None:
    """An attempt that begins then would have no model to start from, and an engine would wait for
    a check of the data that an edit may have made wrong."""
    core = kit.coordinator(tmp_path, kit.desired(kit.spec()), kit.Clock())
    expected = "s3://bucket/x/job/base/"
    assert kit.some(core.training.task(1)).initial_model == expected
    for stream in ("policy", "user"):
        assert kit.some(core.preconditions.model(stream)).url == expected
    stages.finish(core.ledger.db, "rl", 1.0)
    assert core.preconditions.model("policy") is None, "not before the next stage was checked"


@pytest.mark.parametrize("source", ["builtin:tiny", "s3://bucket/model/"])
def test_a_base_model_is_prepared_where_it_is_looked_for(source: str) -> None:
    desired = kit.desired(kit.spec())
    model = desired.spec.model.model_copy(update={"source": source})
    desired = desired.model_copy(update={"spec": desired.spec.model_copy(update={"model": model})})
    store: Any = MemoryStore()
    for name in ("s3://bucket/model/config.json", "s3://bucket/x/job/base/READY.json"):
        store.put(name, b"{}")
    for stream in ("policy", "user"):
        assert base_model.prepare(store, desired, stream) == base_model.address(desired, stream)
