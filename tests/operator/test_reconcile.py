"""Passes on a late or incomplete cache, over an API server that is a dictionary."""

import asyncio
import contextlib
import copy
from typing import Any

import pytest

from sea_api.wire.state import Problem, Severity
from sea_operator.action_backoff import MAX_SECONDS
from sea_operator.cache import Cache, Key
from sea_operator.children import REFUSED_SECONDS
from sea_operator.coordinator_link import Answer
from sea_operator.decide import SOON_SECONDS
from sea_operator.errors import (
    ConflictError,
    KubeError,
    NotFoundError,
    RejectedError,
    UnavailableError,
)
from sea_operator.kube.client import EVENT, JOB, POD, SECRET, SERVICE, STATEFUL_SET, Kind
from sea_operator.node_reader import NodeReader
from sea_operator.observe import Sources
from sea_operator.policies.last_logs import LastLog
from sea_operator.reconcile import Reconciler
from sea_operator.refusal_reader import RefusalReader
from sea_operator.secret_reader import SecretReader
from sea_operator.settings import Intervals, Settings
from sea_operator.settled import CALM_POLLS
from sea_testing.merge_patch import merged

KEY = ("n", "j")
BORN_AT = DELETED_AT = "2027-01-15T08:00:00Z"


class Server:
    """Objects by kind and name; keeps the writes."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.writes: list[str] = []
        self.reads: list[str] = []
        self.refuses: KubeError | None = None
        """What a write of a status ends with."""
        self.unreadable = ""
        """A kind."""
        self.version = 100

    def store(self, kind: Kind, body: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        name = body["metadata"].get("name", f"event-{self.version}")
        old = self.objects.get((kind.name, name), {"metadata": {"uid": f"uid-{self.version}"}})
        meta = {**old["metadata"], **body["metadata"], "resourceVersion": str(self.version)}
        self.objects[kind.name, name] = {**old, **copy.deepcopy(body), "metadata": meta}
        return copy.deepcopy(self.objects[kind.name, name])

    async def get(self, kind: Kind, namespace: str | None, name: str) -> dict[str, Any]:
        self.reads.append(f"{kind.name} {name}")
        if kind.name == self.unreadable:
            raise UnavailableError(name)
        if (kind.name, name) not in self.objects:
            raise NotFoundError(name)
        return copy.deepcopy(self.objects[kind.name, name])

    async def apply(self, kind: Kind, body: dict[str, Any]) -> Any:
        meta = body["metadata"]
        self.writes.append(f"{kind.name} {meta['name']}")
        live = self.objects.get((kind.name, meta["name"]))
        wanted = meta.get("resourceVersion")
        if live is not None and wanted not in (None, live["metadata"]["resourceVersion"]):
            raise ConflictError(meta["name"])
        return self.store(kind, body)

    async def merge(self, kind: Kind, body: dict[str, Any], sub: str | None = None) -> Any:
        meta = body["metadata"]
        self.writes.append(f"{kind.name} {meta['name']}")
        if self.refuses:
            raise self.refuses
        live = self.objects.get((kind.name, meta["name"]))
        if live is None:
            raise NotFoundError(meta["name"])
        if meta["resourceVersion"] != live["metadata"]["resourceVersion"]:
            raise ConflictError(meta["name"])
        return self.store(kind, {**body, "status": merged(live.get("status"), body["status"])})

    async def log(
        self, namespace: str, pod: str, container: str, *, previous: bool, lines: int
    ) -> bytes:
        self.writes.append(f"log {pod}/{container}")
        return b"The end.\n"

    async def create(self, kind: Kind, namespace: str | None, body: dict[str, Any]) -> Any:
        self.writes.append(kind.name)
        if (kind.name, body["metadata"].get("name")) in self.objects:
            raise ConflictError(body["metadata"]["name"])
        return self.store(kind, body)

    async def record(self, namespace: str, event: dict[str, Any]) -> None:
        self.writes.append(EVENT.name)
        self.store(EVENT, event)

    def check(self) -> None:
        """It always leads."""


class Link:
    """A coordinator that says `answer`; keeps the generations that it was sent."""

    def __init__(self) -> None:
        self.answer = Answer(unreachable="Not yet.")
        self.sent: list[int] = []
        self.specs: list[Any] = []
        self.attempts: list[int] = []
        self.logs: dict[str, bytes] = {}

    async def state(self, *_: Any) -> Answer:
        return self.answer

    async def send(self, job: Any, pods: Any, token: str, spec: Any) -> None:
        self.sent.append(spec.spec_generation)
        self.specs.append(spec)
        self.attempts.append(spec.attempt)

    async def keep_log(self, job: Any, pods: Any, token: str, one: LastLog, text: bytes) -> None:
        self.logs[one.path] = text

    def forget(self, namespace: str, name: str) -> None:
        """Remembers nothing."""


class Operator:
    """A reconciler whose cache hears only what a test tells it."""

    def __init__(self, make: Any) -> None:
        self.make = make
        self.keys: list[Key] = []
        self.server, self.link, self.now = Server(), Link(), make.now
        server: Any = self.server
        link: Any = self.link
        self.cache = Cache(self.keys.append)
        sources = Sources(
            server,
            self.cache,
            SecretReader(server, lambda: 0.0),
            link,
            RefusalReader(server, lambda: 0.0),
            NodeReader(server, lambda: 0.0),
        )
        settings = Settings(identity="test")
        self.seconds = 0.0
        self.reconcile = Reconciler(
            sources,
            settings,
            lambda: self.now,
            monotonic=lambda: self.seconds,
            complete=self.complete,
        )
        self.synced = True
        self.server.store(SECRET, {"metadata": {"name": "s3"}, "data": dict.fromkeys(S3, "eA==")})
        self.edit(1)
        self.hear()

    def complete(self, namespace: str) -> bool:
        return self.synced

    def edit(self, generation: int, **patch: Any) -> None:
        """The job as a user stores it."""
        meta = {"name": "j", "namespace": "n", "uid": self.make.uid, "generation": generation}
        self.server.store(JOB, {"metadata": meta, "spec": self.make.raw_spec(patch)})

    def hear(self) -> None:
        """The event of the job arrives."""
        self.cache.put(JOB, copy.deepcopy(self.server.objects[JOB.name, "j"]))

    async def quiet(self) -> None:
        """Passes until one writes nothing."""
        while True:
            self.server.writes.clear()
            await self.reconcile(KEY)
            if not self.server.writes:
                return

    def start_pod(self, role: str = "trainer", ready: str = "True") -> None:
        """News that only the status reports."""
        of = self.server.objects[STATEFUL_SET.name, f"j-{role}"]
        template, owner = of["spec"]["template"], {"uid": of["metadata"]["uid"]}
        meta = {"name": f"j-{role}-0", "namespace": "n", "creationTimestamp": BORN_AT}
        owned: dict[str, Any] = {**meta, "ownerReferences": [{**owner, "controller": True}]}
        labels = template["metadata"]["labels"]
        status = {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}
        spec = {"nodeName": "node-1"}
        pod = {"metadata": {**owned, "labels": labels}, "spec": spec, "status": status}
        self.cache.put(POD, self.server.store(POD, pod))

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.server.objects[JOB.name, "j"].get("status", {})
        return found

    def events(self, reason: str) -> list[str]:
        found = [one for (kind, _), one in self.server.objects.items() if kind == EVENT.name]
        return [one["message"] for one in found if one["reason"] == reason]

    def trainers(self) -> Any:
        return self.server.objects[STATEFUL_SET.name, "j-trainer"]["spec"]["replicas"]


WARNING = Problem(reason="StoreFails", message="No.", severity=Severity.WARNING)
S3 = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


@pytest.fixture
def operator(make: Any) -> Operator:
    return Operator(make)


async def test_a_late_view_of_the_job_never_undoes_what_another_leader_applied(
    operator: Operator,
) -> None:
    await operator.quiet()
    operator.edit(2, trainer={"replicas": 3})
    sets = operator.server.objects[STATEFUL_SET.name, "j-trainer"]
    theirs = {**sets, "spec": {**sets["spec"], "replicas": 3}}
    operator.cache.put(STATEFUL_SET, operator.server.store(STATEFUL_SET, theirs))
    with pytest.raises(ConflictError, match="n/j was edited"):
        await operator.reconcile(KEY)
    assert operator.server.writes == []
    await operator.quiet()
    assert operator.trainers() == 3


async def test_a_late_view_of_the_status_never_brings_back_the_pods_of_a_job_that_is_over(
    operator: Operator, make: Any
) -> None:
    await operator.quiet()
    live = operator.server.objects[JOB.name, "j"]
    over = make.status(make.condition("Failed", "True"))
    status = over.model_dump(by_alias=True, exclude_none=True, mode="json")
    operator.server.store(JOB, {**live, "status": status})
    sets = operator.server.objects[STATEFUL_SET.name, "j-trainer"]
    theirs = {**sets, "spec": {**sets["spec"], "replicas": 0}}
    operator.cache.put(STATEFUL_SET, operator.server.store(STATEFUL_SET, theirs))
    with pytest.raises(ConflictError):
        await operator.reconcile(KEY)
    assert operator.server.writes == []
    await operator.quiet()
    assert operator.trainers() == 0


async def test_annotations_of_others_keep_no_pass_from_acting(operator: Operator) -> None:
    await operator.quiet()
    operator.edit(2, trainer={"replicas": 3})
    operator.hear()
    live = operator.server.objects[JOB.name, "j"]
    live["metadata"]["annotations"] = {"a": "b"}
    operator.server.store(JOB, live)
    with contextlib.suppress(ConflictError):  # of the status
        await operator.reconcile(KEY)
    assert operator.trainers() == 3


async def test_a_late_view_of_the_job_never_reaches_its_coordinator(
    operator: Operator, make: Any
) -> None:
    operator.link.answer = Answer(make.state())
    await operator.quiet()
    operator.edit(2, trainer={"replicas": 3})
    operator.link.sent.clear()
    with pytest.raises(ConflictError):
        await operator.reconcile(KEY)
    assert operator.link.sent == []
    await operator.reconcile(KEY)
    assert operator.link.sent == [2]


def delete_unheard(operator: Operator) -> None:
    live = operator.server.objects[JOB.name, "j"]
    live["metadata"]["deletionTimestamp"] = DELETED_AT
    operator.server.store(JOB, live)


async def test_a_job_whose_deletion_has_begun_unheard_gets_no_children(operator: Operator) -> None:
    await operator.quiet()
    delete_unheard(operator)
    lost = operator.server.objects[STATEFUL_SET.name, "j-trainer"]
    operator.cache.remove(STATEFUL_SET, lost)
    assert await operator.reconcile(KEY) is None
    assert operator.server.writes == []


async def test_a_new_job_whose_deletion_has_begun_unheard_gets_no_children(
    operator: Operator,
) -> None:
    """It isn't read before: its first status is refused."""
    delete_unheard(operator)
    with pytest.raises(ConflictError):
        await operator.reconcile(KEY)
    assert await operator.reconcile(KEY) is None
    assert operator.status() == {}
    assert (STATEFUL_SET.name, "j-trainer") not in operator.server.objects


async def test_a_new_job_has_its_status_before_its_children(operator: Operator) -> None:
    await operator.reconcile(KEY)
    written = [name for name in operator.server.writes if name != "Event"]
    assert written[0] == "SEATrainingJob j"
    assert written.count("SEATrainingJob j") == 1
    assert "StatefulSet j-trainer" in written


async def test_a_new_job_costs_no_read_but_of_the_secrets_that_it_names(operator: Operator) -> None:
    await operator.reconcile(KEY)
    assert operator.server.reads == ["Secret s3"]
    assert operator.trainers() == 2
    assert operator.status()["observedGeneration"] == 1


async def test_what_a_killed_operator_made_of_a_new_job_is_met_and_kept(operator: Operator) -> None:
    """Its first pass was cut off before the status: the second one creates nothing again."""
    await operator.reconcile(KEY)
    token = operator.server.objects[SECRET.name, "j-auth"]["data"]
    successor = Operator(operator.make)
    successor.server.objects = operator.server.objects
    successor.server.version = operator.server.version
    operator.server.objects[JOB.name, "j"].pop("status")
    successor.hear()
    assert await successor.reconcile(KEY) is not None
    assert successor.server.objects[SECRET.name, "j-auth"]["data"] == token
    assert successor.status()["observedGeneration"] == 1


async def test_the_token_of_a_deleted_job_of_this_name_is_waited_for(operator: Operator) -> None:
    """The garbage collector takes it soon: no pass asks for it without a pause."""
    owner = {"kind": JOB.name, "name": "j", "uid": "of-the-job-before", "controller": True}
    meta = {"name": "j-auth", "namespace": "n", "ownerReferences": [owner]}
    operator.server.store(SECRET, {"metadata": meta, "data": {"token": "eA=="}})
    for _ in range(2):
        operator.server.writes.clear()
        with pytest.raises(ConflictError):
            await operator.reconcile(KEY)
        assert operator.server.writes.count(SECRET.name) <= 2
        assert set(operator.server.writes) <= {"SEATrainingJob j", "Event", SECRET.name}
    del operator.server.objects[SECRET.name, "j-auth"]
    await operator.quiet()
    assert operator.trainers() == 2


async def test_a_late_view_of_a_new_job_never_undoes_what_another_leader_applied(
    operator: Operator,
) -> None:
    """Cache and watch of a standby that has just become the leader may both be late."""
    await operator.reconcile(KEY)
    successor = Operator(operator.make)
    successor.hear()
    successor.server.objects = operator.server.objects
    successor.server.version = operator.server.version
    del operator.server.objects[SECRET.name, "j-auth"]
    operator.edit(2, trainer={"replicas": 3})
    sets = operator.server.objects[STATEFUL_SET.name, "j-trainer"]
    operator.server.store(STATEFUL_SET, {**sets, "spec": {**sets["spec"], "replicas": 3}})
    successor.server.unreadable = JOB.name
    await successor.reconcile(KEY)
    assert successor.trainers() == 3, "a view that can't be proved undoes nothing either"
    successor.server.unreadable = ""
    successor.seconds += 60.0
    with pytest.raises(ConflictError):
        await successor.reconcile(KEY)
    assert successor.trainers() == 3


async def test_a_status_that_conflicts_brings_the_job_without_its_watch(operator: Operator) -> None:
    await operator.quiet()
    operator.edit(2, suspend=True)
    operator.start_pod()
    operator.keys.clear()
    with pytest.raises(ConflictError):
        await operator.reconcile(KEY)
    view = operator.cache.view(KEY)
    assert view is not None
    assert view.job.generation == 2
    assert operator.keys == [KEY]


async def test_each_roles_last_log_is_kept_before_its_pods_go(
    operator: Operator, make: Any
) -> None:
    """With the coordinator, which goes too, goes the way to the object store."""
    operator.link.answer = Answer(make.state())
    await operator.quiet()
    for role in ("coordinator", "trainer", "rollout", "user"):
        operator.start_pod(role)
    operator.link.answer = Answer(make.state("sft", "rl", "eval"))
    operator.server.writes.clear()
    for _ in range(3):
        await operator.reconcile(KEY)
    kept = (
        "coordinator-0/coordinator",
        "trainer-0/trainer",
        "rollout-0/engine",
        "rollout-0/worker",
        "user-0/engine",
        "user-0/worker",
    )
    reads = [f"log j-{one}" for one in kept]
    assert sorted(one for one in operator.server.writes if one.startswith("log")) == sorted(reads)
    scaled = operator.server.writes.index("StatefulSet j-coordinator")
    assert max(map(operator.server.writes.index, reads)) < scaled
    assert operator.trainers() == 0
    assert operator.link.logs == {f"logs/j-{one}.attempt-1.log": b"The end.\n" for one in kept}


@pytest.mark.parametrize("rival", [None, "another/sea-operator"])
async def test_a_job_that_was_deleted_unheard_ends_at_its_next_status(
    operator: Operator, rival: str | None
) -> None:
    """Its children stay if it was deleted with `--cascade=orphan`: no event comes of them.

    `rival`: another operator, in whose place this one would have announced itself.
    """
    if rival:
        live = operator.server.objects[JOB.name, "j"]
        theirs = operator.server.store(JOB, {**live, "status": {"operator": rival}})
        operator.cache.put(JOB, theirs)
    else:
        await operator.quiet()
        operator.start_pod()
    del operator.server.objects[JOB.name, "j"]
    assert await operator.reconcile(KEY) is None
    assert operator.cache.view(KEY) is None


async def test_a_name_that_becomes_free_without_an_event_is_taken(operator: Operator) -> None:
    """The watches don't show the stranger, which is being deleted, and so not its end either."""
    meta = {"name": "j-rollout", "namespace": "n", "deletionTimestamp": DELETED_AT}
    before = operator.server.store(SERVICE, {"kind": "Service", "metadata": meta})
    for _ in range(3):
        await operator.reconcile(KEY)
    assert operator.server.objects[SERVICE.name, "j-rollout"] == before
    del operator.server.objects[SERVICE.name, "j-rollout"]
    operator.server.writes.clear()
    await operator.reconcile(KEY)
    assert operator.server.writes == ["Service j-rollout"]


async def test_only_what_the_next_pass_decides_by_brings_it_early(operator: Operator) -> None:
    """A new job's first conditions say nothing that the operator doesn't know."""
    assert await operator.reconcile(KEY) == Intervals().waiting
    assert operator.status()["conditions"][0]["type"] == "Ready"
    operator.edit(2, suspend=True)
    operator.hear()
    assert await operator.reconcile(KEY) == SOON_SECONDS


async def test_no_pass_acts_while_a_namespace_is_only_half_known(operator: Operator) -> None:
    operator.synced = False
    assert await operator.reconcile(KEY) == 5.0
    assert operator.server.writes == []
    operator.synced = True
    await operator.reconcile(KEY)
    assert operator.server.writes != []


async def test_a_pass_that_waits_for_its_coordinator_holds_no_slot(operator: Operator) -> None:
    """Dozens of coordinators that don't answer must not keep a new job from being served."""
    await operator.quiet()
    asked, answer = asyncio.Event(), asyncio.Event()

    async def hang(*_: Any) -> Answer:
        asked.set()
        await answer.wait()
        return Answer(unreachable="Too late.")

    operator.link.state = hang  # type: ignore[method-assign]
    waits = asyncio.create_task(operator.reconcile(KEY))
    async with asyncio.timeout(120):
        await asked.wait()
        slots = operator.reconcile.sources.slots
        assert slots.is_free, "all slots are free while it waits"
        assert not waits.done()
        answer.set()
        await waits


@pytest.mark.parametrize("error", [RejectedError("a policy's no"), UnavailableError("no answer")])
async def test_a_status_that_cannot_be_written_stops_nothing_else(
    operator: Operator, make: Any, error: KubeError
) -> None:
    operator.server.refuses = error
    operator.link.answer = Answer(make.state())
    for _ in range(3):
        await operator.reconcile(KEY)
    assert operator.trainers() == 2
    assert operator.link.sent != [], "the coordinator is told what to do"
    (message,) = operator.events("StatusNotWritten")
    assert str(error) in message
    assert len(operator.events("StageStarted")) == 1, "what the status can't say, Events do, once"
    operator.server.writes.clear()
    await operator.reconcile(KEY)
    assert operator.server.writes == [], "it isn't tried at each pass"
    operator.server.refuses = None
    operator.seconds += MAX_SECONDS
    await operator.reconcile(KEY)
    assert operator.status()["stage"] == "sft"
    assert "can't be written" not in str(operator.status())
    assert len(operator.events("StageStarted")) == 1


async def test_a_new_attempt_waits_until_the_status_has_recorded_it(
    operator: Operator, make: Any
) -> None:
    """The other way round a crash in between would leave a restart that nobody counted."""
    operator.link.answer = Answer(make.state())
    await operator.quiet()
    operator.server.refuses = UnavailableError("no answer")
    operator.link.answer = Answer(make.state(trainer_failure=make.failure()))
    for _ in range(3):
        await operator.reconcile(KEY)
    assert set(operator.link.attempts) == {1}
    operator.server.refuses = None
    operator.seconds += MAX_SECONDS
    await operator.reconcile(KEY)
    assert operator.link.attempts[-1] == 2
    assert operator.status()["restarts"]["uncounted"] == 1


async def test_a_status_write_proves_the_view_that_a_spec_is_sent_by(
    operator: Operator, make: Any
) -> None:
    """A read would cost one more request per job, and say the same."""
    await operator.quiet()
    operator.link.answer = Answer(make.state(stages=("sft",)))
    operator.server.reads.clear()
    await operator.reconcile(KEY)
    assert operator.link.sent == [1]
    assert operator.server.reads == []
    # Sent again although the status says all there is: only a read shows that nobody edited it.
    await operator.reconcile(KEY)
    assert operator.link.sent == [1, 1]
    assert operator.server.reads == ["SEATrainingJob j"]


async def test_a_job_that_runs_quietly_is_polled_half_as_often(
    operator: Operator, make: Any
) -> None:
    """Until its coordinator has news, or an event comes."""
    operator.link.answer = Answer(make.state(stages=("sft",)))
    await operator.reconcile(KEY)
    for role in ("coordinator", "trainer"):
        operator.start_pod(role)

    await operator.quiet()
    taken = make.state(stages=("sft",), spec_digest=operator.link.specs[-1].digest)
    operator.link.answer = Answer(taken)
    await operator.quiet()
    found = [await operator.reconcile(KEY) for _ in range(CALM_POLLS + 1)]
    assert found == [1.0] * (CALM_POLLS - 1) + [2.0, 2.0]
    operator.link.answer = Answer(taken.model_copy(update={"reward": 0.5}))
    assert await operator.reconcile(KEY) == 1.0
    assert operator.status()["reward"] == 0.5


@pytest.mark.parametrize("prepared", [True, False])
async def test_a_job_that_only_waits_for_its_pods_is_polled_rarely(
    operator: Operator, make: Any, prepared: bool
) -> None:
    """Their coming is an event. A check of its inputs may end at any time, without one."""
    operator.link.answer = Answer(make.state(stages=("sft",), prepared=prepared))
    await operator.reconcile(KEY)
    operator.start_pod("coordinator")
    await operator.quiet()
    sent = operator.link.specs[-1].digest
    operator.link.answer = Answer(make.state(stages=("sft",), prepared=prepared, spec_digest=sent))
    await operator.quiet()
    found = [await operator.reconcile(KEY) for _ in range(CALM_POLLS + 1)]
    assert found == [5.0] * (CALM_POLLS - 1) + ([20.0, 20.0] if prepared else [5.0, 5.0])


@pytest.mark.parametrize("news", ["refused", "problem", "began"])
async def test_a_job_that_may_go_on_without_an_event_is_not_polled_rarely(
    operator: Operator, make: Any, news: str
) -> None:
    problem = WARNING if news == "problem" else None
    state = make.state(stages=("sft",), prepared=True, problem=problem)
    operator.link.answer = Answer(state)
    await operator.reconcile(KEY)
    operator.start_pod("coordinator")
    if news == "began":
        operator.start_pod("trainer", ready="False")
    if news == "refused":
        refuse(operator)
    await operator.quiet()
    sent = operator.link.specs[-1].digest
    operator.link.answer = Answer(state.model_copy(update={"spec_digest": sent}))
    await operator.quiet()
    found = [await operator.reconcile(KEY) for _ in range(CALM_POLLS + 1)]
    assert found == [5.0] * (CALM_POLLS + 1)
    operator.now += REFUSED_SECONDS
    operator.server.writes.clear()
    await operator.reconcile(KEY)
    asks = ["StatefulSet j-rollout"] if news == "refused" else []
    assert operator.server.writes == asks, "pods are asked for again although nothing has changed"


def refuse(operator: Operator) -> None:
    """A quota is used up; its end brings no event."""

    async def words(*_: Any) -> dict[str, str]:
        return {"j-rollout": "exceeded quota: q, requested: pods=1, used: pods=9"}

    operator.reconcile.sources.refusals.words = words  # type: ignore[method-assign, assignment]
