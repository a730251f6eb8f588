"""The ends of containers' logs are in the run's folder, and no secret is."""

from pathlib import Path

import pytest

from sea_api.contract import LOG_BYTES
from sea_runtime.coordinator.container_logs import ContainerLogs
from sea_runtime.coordinator.errors import RefusedError
from sea_testing.coordinator import inprocess as kit
from sea_testing.coordinator.memory_store import MemoryStore

RUN = "s3://bucket/x/job"
SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI-K7MDENG",
    "SEA_TOKEN": "token-of-the-job",
    "SEA_JOB": "job-with-a-name",
    "SHORT_TOKEN": "error",
}


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def logs(tmp_path: Path, store: MemoryStore) -> ContainerLogs:
    core = kit.coordinator(tmp_path, kit.desired(kit.spec()), kit.Clock(), store)
    kept: object = store
    return ContainerLogs(core.job, kept, SECRETS)  # type: ignore[arg-type]


async def test_a_failure_and_the_end_of_a_pod_are_two_objects(
    logs: ContainerLogs, store: MemoryStore
) -> None:
    await logs.keep("job-trainer-0", "trainer", 2, b"Boom.\n", failed=True)
    await logs.keep("job-trainer-0", "trainer", 2, b"Goodbye.\n", failed=False)
    await logs.keep("job-trainer-0", "trainer", 3, b"Goodbye again.\n", failed=False)
    assert store.objects == {
        f"{RUN}/logs/job-trainer-0/trainer.attempt-2.failed.log": b"Boom.\n",
        f"{RUN}/logs/job-trainer-0/trainer.attempt-2.log": b"Goodbye.\n",
        f"{RUN}/logs/job-trainer-0/trainer.attempt-3.log": b"Goodbye again.\n",
    }


async def test_secrets_are_hidden_whatever_printed_them(
    logs: ContainerLogs, store: MemoryStore
) -> None:
    text = (
        "key wJalrXUtnFEMI-K7MDENG of job-with-a-name, Bearer token-of-the-job, "
        "Authorization: Basic dXNlcjpwYXNz\nerror: \udc80\n"
    )
    await logs.keep("job-x-0", "engine", 1, text.encode(errors="surrogateescape"), failed=True)
    (stored,) = store.objects.values()
    for secret in ("wJalrXUt", "token-of-the-job", "dXNlcjpwYXNz"):
        assert secret not in stored.decode()
    assert "of job-with-a-name" in stored.decode()
    assert "error:" in stored.decode(), "a short value is an ordinary word"


async def test_of_a_long_log_the_end_is_kept(logs: ContainerLogs, store: MemoryStore) -> None:
    await logs.keep("job-x-0", "engine", 1, b"x" * LOG_BYTES + b"the end", failed=True)
    (stored,) = store.objects.values()
    assert len(stored) == LOG_BYTES
    assert stored.endswith(b"the end")


@pytest.mark.parametrize(
    ("pod", "container"),
    [("other-trainer-0", "trainer"), ("job-..", "x"), ("job-x-0", "../x"), ("job-x-0", "")],
)
async def test_no_name_leads_out_of_the_folder(
    logs: ContainerLogs, store: MemoryStore, pod: str, container: str
) -> None:
    with pytest.raises(RefusedError):
        await logs.keep(pod, container, 1, b"x", failed=True)
    assert store.objects == {}
