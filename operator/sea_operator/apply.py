"""Carries out a plan, in two halves around the status write.

The process may crash after any step: the next pass sees what was done and does the rest. An action
that fails stops no other; `action_backoff.py` keeps what its failure means for the status.
The API server's answers go into the cache at once, so that the next pass doesn't do it again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any

from sea_operator.action_backoff import Action, ActionBackoff
from sea_operator.errors import (
    ConflictError,
    CoordinatorRefusedError,
    ExpiredError,
    NotFoundError,
    OperatorError,
    RejectedError,
    TokenExistsError,
    UnavailableError,
)
from sea_operator.kube.client import DISRUPTION_BUDGET, SECRET, SERVICE, STATEFUL_SET
from sea_operator.observe import Sources, read
from sea_operator.observed import Blocker, Object, Observed, digest, is_leaving, is_ours
from sea_operator.plan import Plan, Removal
from sea_operator.policies.drift import without_emptied
from sea_operator.policies.prerequisites import name_taken

KINDS = {kind.name: kind for kind in (STATEFUL_SET, SERVICE, DISRUPTION_BUDGET)}
FAILURES = (RejectedError, UnavailableError, NotFoundError, ExpiredError)
"""Failures of one request. Not among them: `NotLeadingError`, which ends the pass."""
NO_VERSION = "1"
"""A resource version that no object has. The API server creates what doesn't exist and answers 409
for what does: a name is taken only if it is free, without a read before it."""
REMOVALS = 16
"""Deletions of one pass at one time. A role may have hundreds of pods, and a pass ends after
`workers.PASS_TIMEOUT_SECONDS`, even if each deletion takes as long as a request may."""
SEND: Action = ("send", "spec")


def planned(plan: Plan) -> set[Action]:
    """All actions of a plan, as the back-off knows them."""
    removals = map(_deletion, (*plan.removals, *plan.renewals, *plan.fenced_removals))
    secret = {_creation(plan.secret)} if plan.secret is not None else set()
    return {*secret, *map(_application, plan.applies), *removals, *({SEND} if plan.send else ())}


@dataclass(frozen=True)
class Actions:
    """The writes of one pass over one job."""

    sources: Sources
    observed: Observed
    backoff: ActionBackoff
    is_current: Callable[[], Awaitable[bool]]
    """Asked before something is applied that the pass didn't observe. False if the job is gone or
    can't be read; raises `ConflictError` if the pass's view of it is late."""

    async def before_status(self, plan: Plan) -> None:
        """Children and pods: everything that the status reports."""
        # First: the pod templates name this Secret, and their annotation carries its token's
        # digest. None of them counts before the Secret is there.
        if plan.secret is None or await self._create_secret(plan.secret):
            await self._apply(plan.applies)
        # After the applies: an outdated pod that goes before its StatefulSet has the new template
        # would be created from the old one (`policies/drift.py` asks for the live template too).
        await self._remove_all(plan.removals)

    async def after_status(self, plan: Plan) -> None:
        """What may happen only after the status has recorded it."""
        # Before the spec is sent: the new attempt would begin with pods that are about to go.
        await self._remove_all(plan.renewals)
        # The spec carries the attempt number. If the coordinator had it first, a kill before the
        # status write would leave an attempt that `status.restarts` doesn't count.
        if plan.send and not await self._send(plan):
            # A refused spec leaves the pods to a later pass. An unreachable coordinator doesn't
            # (`send` is false): it may be on the dead node itself.
            return
        # After the status has left their attempt behind (fencing): a pod whose node only seemed
        # dead finds that its attempt may not commit any more. The other way round both could write.
        await self._remove_all(plan.fenced_removals)

    async def _create_secret(self, secret: Object) -> bool:
        # `create`, never `apply`: if another pass or leader was faster, this one fails with a
        # conflict instead of rotating a token that pods already hold.
        try:
            made = await self.backoff.attempt(
                _creation(secret),
                lambda: self.sources.client.create(SECRET, self.observed.job.namespace, secret),
                lambda error: _refusal(secret, error),
                FAILURES,
            )
        except ConflictError as error:
            # The token, and whose it is, must be known before anything else. One that a deleted job
            # of this name has left is waited for, as after any conflict.
            if not self.sources.secrets.taken(self.observed.job):
                raise
            raise TokenExistsError(str(error)) from error
        # A kill before this line costs one read: the next pass finds the Secret in the API server.
        if made is not None:
            self.sources.secrets.wrote_token(self.observed.job, made)
        return made is not None

    async def _apply(self, children: Iterable[Object]) -> None:
        services = [child for child in children if child["kind"] == SERVICE.name]
        sets = [child for child in children if child["kind"] != SERVICE.name]
        taken: list[Object] = []
        most = self.sources.slots.requests
        await _all((self._apply_one(child, taken) for child in services), most)
        # A name that a stranger has stalls the job: its pods would hold GPUs for nothing.
        if taken:
            return
        made = await _all((self._apply_one(child, taken) for child in sets), most)
        if taken:
            fresh = [one for one in made if one is not None and self._live(one) is None]
            await self._remove_all(map(_undo, fresh))

    async def _apply_one(self, child: Object, taken: list[Object]) -> Object | None:
        kind = KINDS[child["kind"]]
        live = await self.backoff.attempt(
            _application(child),
            lambda: self._apply_or_meet(child),
            lambda error: _refusal(child, error),
            FAILURES,
        )
        if isinstance(live, Blocker):
            self.backoff.failed(_application(child), live)
            taken.append(child)
            return None
        if live is not None:
            # Cached before the watch event arrives: without it the next pass would apply the child
            # again.
            self.sources.cache.applied(kind, live, digest(child))
        return live

    async def _apply_or_meet(self, child: Object) -> Object | Blocker | None:
        """Applies the child to the object that the pass observed, or creates it if there was none.

        `apply` forces conflicts, so without a precondition an object that took the name in between
        would be overwritten.
        """
        kind, live = KINDS[child["kind"]], self._live(child)
        # With a uid the API server answers 409 instead of creating or adopting a successor.
        pin = {"uid": live["metadata"]["uid"]} if live else {"resourceVersion": NO_VERSION}
        try:
            return await self.sources.client.apply(kind, _with(without_emptied(live, child), pin))
        except ConflictError:
            meta = child["metadata"]
            found = await read(self.sources.client, kind, meta["namespace"], meta["name"])
        if found is None or is_leaving(found, self.observed.job):
            return None  # its end brings no event if it isn't ours: the next pass looks again
        if not is_ours(found, self.observed.job):
            return name_taken(child["kind"], meta["namespace"], meta["name"])
        # Ours: the cache was late, or our label is gone, without which no watch shows the object.
        # What is there may be of a newer spec than this pass knows.
        if not await self.is_current():
            return None
        body = without_emptied(found, child)
        return await self.sources.client.apply(kind, _with(body, {"uid": found["metadata"]["uid"]}))

    def _live(self, child: Object) -> Object | None:
        return self.observed.children.get((child["kind"], child["metadata"]["name"]))

    async def _remove_all(self, removals: Iterable[Removal]) -> None:
        await _all(map(self._remove, removals), REMOVALS)

    async def _remove(self, removal: Removal) -> None:
        await self.backoff.attempt(
            _deletion(removal),
            lambda: self._delete(removal),
            lambda error: _undeletable(self.observed.job.namespace, removal, error),
            FAILURES,
        )

    async def _delete(self, removal: Removal) -> None:
        """Deletes; an object that is gone or was replaced under its name is deleted already."""
        kind, name, uid = removal.kind, removal.name, removal.uid
        namespace, cache = self.observed.job.namespace, self.sources.cache
        try:
            answer = await self.sources.client.delete(
                kind, namespace, name, uid, removal.grace_seconds
            )
        except (NotFoundError, ConflictError):
            # Our view was late. Whatever has the name now comes with its own event.
            cache.deleted(kind, namespace, name, uid)
            return
        if _stays(answer):
            cache.wrote(kind, answer)
        else:
            cache.deleted(kind, namespace, name, uid)

    async def _send(self, plan: Plan) -> bool:
        """Whether the coordinator took its spec."""
        spec, token, observed = plan.coordinator_spec, self.observed.token, self.observed
        if spec is None or token is None:
            return True
        # Not a request to the API server, so no guard asks by itself whether we still lead.
        self.sources.client.check()

        async def send() -> bool:
            await self.sources.link.send(observed.job, observed.pods, token, spec)
            return True

        took = await self.backoff.attempt(
            SEND,
            send,
            lambda error: Blocker("CoordinatorRefused", str(error), transient=True),
            (CoordinatorRefusedError,),
        )
        return took is not None


async def _all(work: Iterable[Coroutine[Any, Any, Any]], most: int) -> list[Any]:
    """Results of all, once all have ended: an error of one leaves no other running behind it.

    `most`: requests at one time.
    """
    few = asyncio.Semaphore(most)

    async def one(part: Coroutine[Any, Any, Any]) -> Any:
        try:
            async with few:
                return await part
        finally:
            part.close()  # of one that never began, if the pass is cancelled

    results = await asyncio.gather(*map(one, work), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def _with(child: Object, pin: dict[str, str]) -> Object:
    return {**child, "metadata": {**child["metadata"], **pin}}


def _undo(made: Object) -> Removal:
    meta = made["metadata"]
    return Removal(KINDS[made["kind"]], meta["name"], meta["uid"])


def _creation(secret: Object) -> Action:
    return ("create", secret["kind"], secret["metadata"]["name"])


def _application(child: Object) -> Action:
    return ("apply", child["kind"], child["metadata"]["name"])


def _deletion(removal: Removal) -> Action:
    return ("delete", removal.kind.name, removal.name, removal.uid)


def _stays(answer: Object) -> bool:
    """Whether a deleted object exists until its grace period or a finalizer ends.

    Of one that is gone the API server returns a Status, or for some kinds its last state.
    """
    # `deletionGracePeriodSeconds` 0 is falsy on purpose: the API server removes such a pod at once.
    meta = answer.get("metadata", {})
    waits = meta.get("deletionGracePeriodSeconds") or meta.get("finalizers")
    return "deletionTimestamp" in meta and bool(waits)


def _refusal(child: Object, error: OperatorError) -> Blocker:
    meta = child["metadata"]
    what = f"{child['kind']} {meta['namespace']}/{meta['name']}"
    if not isinstance(error, RejectedError):
        message = f"{what} can't be written now: {error} It is tried again."
        return Blocker("ChildNotWritten", message, transient=True)
    return Blocker(
        "ChildRejected",
        f"The API server refuses {what}: {error} "
        "Change what it objects to in the job, or delete the object if a field of it can't "
        "change, and the operator creates it again.",
    )


def _undeletable(namespace: str, removal: Removal, error: OperatorError) -> Blocker:
    what = f"{removal.kind.name} {namespace}/{removal.name}"
    if not isinstance(error, RejectedError):
        message = f"{what} can't be deleted now: {error} It is tried again."
        return Blocker("DeletionFails", message, transient=True)
    return Blocker(
        "DeletionRefused",
        f"{what} must go, but the API server refuses to delete it: {error} "
        "Let the operator delete it, or delete it yourself; the operator tries again.",
    )
