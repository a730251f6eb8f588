"""The operator's connection to a job's coordinator: `GET /v1/state` up, `PUT /v1/spec` down.

Coordinators start, restart and move, so an unreachable one is normal: reading returns the reason
instead of raising it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import aiohttp
from pydantic import ValidationError

from sea_api.contract import COORDINATOR_PORT, pod_name
from sea_api.v1alpha1.policy import Role
from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_api.wire.state import CoordinatorState
from sea_operator.errors import CoordinatorRefusedError
from sea_operator.observed import Job
from sea_operator.pods import Pod
from sea_operator.policies.last_logs import LastLog

TIMEOUT_SECONDS = 3.0
LOG_SECONDS = 15.0
"""Time-out for one log that the coordinator stores."""
MAX_SILENCE_SECONDS = 10.0
"""Between two requests to a coordinator that doesn't answer; an event brings those without
address."""

Resolver = Callable[[Job, tuple[Pod, ...]], str | None]
"""Base URL of a job's coordinator, None while it has no address."""


@dataclass(frozen=True)
class Answer:
    """The state, or why there is none."""

    state: CoordinatorState | None = None
    unreachable: str | None = None
    unauthorized: bool = False
    """It was started with another token."""
    silent: bool = False
    """Nothing answered at its address."""
    ask_again_after: float | None = None
    """Seconds until it's worth asking again, where that is later than usual."""


Place = tuple[str, bool]
"""A coordinator's URL, and whether its pod is ready."""


@dataclass(frozen=True)
class _Silence:
    """A coordinator that didn't answer the last `times` requests."""

    place: Place
    times: int
    due: float
    answer: Answer


def by_pod_ip(job: Job, pods: tuple[Pod, ...]) -> str | None:
    """The pod's own address: DNS may lag behind after a restart."""
    name = pod_name(job.name, Role.COORDINATOR, 0)
    addresses = (pod.ip for pod in pods if pod.name == name and pod.role is Role.COORDINATOR)
    address = next(addresses, None)
    # An IPv6 address stands in brackets in a URL.
    host = f"[{address}]" if address and ":" in address else address
    return f"http://{host}:{COORDINATOR_PORT}" if host else None


class CoordinatorLink:
    """HTTP to the coordinators of all jobs over one connection pool."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        resolve: Resolver = by_pod_ip,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session
        self._resolve = resolve
        self._monotonic = monotonic
        self._last: dict[tuple[str, str], tuple[bytes, CoordinatorState]] = {}
        self._silent: dict[tuple[str, str], _Silence] = {}

    def forget(self, namespace: str, name: str) -> None:
        """There is no such job any more."""
        self._last.pop((namespace, name), None)
        self._silent.pop((namespace, name), None)

    async def state(self, job: Job, pods: tuple[Pod, ...], token: str) -> Answer:
        """The state that the job's coordinator reports; network errors become the reason."""
        url = self._resolve(job, pods)
        if url is None:
            reason = "The coordinator's pod has no address yet."
            return Answer(unreachable=reason, ask_again_after=MAX_SILENCE_SECONDS)
        key, now = (job.namespace, job.name), self._monotonic()
        place = (url, any(pod.ready for pod in pods if pod.role is Role.COORDINATOR))
        silence = self._silent.get(key)
        # Thousands of coordinators that are gone would otherwise cost a time-out each per second.
        # One that moved or became ready is asked at once.
        if silence and silence.place == place and now < silence.due:
            return replace(silence.answer, ask_again_after=silence.due - now)
        answer = await self._ask(job, url, token)
        if answer.silent:
            return self._note_silence(key, place, answer)
        self._silent.pop(key, None)
        return answer

    def _note_silence(self, key: tuple[str, str], place: Place, answer: Answer) -> Answer:
        before = self._silent.get(key)
        times = before.times + 1 if before and before.place == place else 1
        delay = min(MAX_SILENCE_SECONDS, 2.0 ** min(times - 1, 10))
        self._silent[key] = _Silence(place, times, self._monotonic() + delay, answer)
        return replace(answer, ask_again_after=delay)

    async def _ask(self, job: Job, url: str, token: str) -> Answer:
        try:
            state = self._parsed(job, await self._get(f"{url}/v1/state", token))
        # A coordinator of another release. Not raised: the rest of the pass doesn't need the state.
        except ValidationError as error:
            return Answer(unreachable=f"The coordinator's state can't be read: {error}.")
        # ValueError: a token that no header can carry.
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            reason = str(error) or type(error).__name__
            # 401 alone means another token; `raise_for_status` raises the same type for 5xx.
            unauthorized = isinstance(error, aiohttp.ClientResponseError) and error.status == 401
            sentence = f"The coordinator at {url} doesn't answer: {reason}."
            silent = not isinstance(error, aiohttp.ClientResponseError)
            return Answer(unreachable=sentence, unauthorized=unauthorized, silent=silent)
        # Pod IPs are reused. None: it has no spec yet, and is sent ours.
        if state.uid is not None and state.uid != job.uid:
            return Answer(unreachable=f"The coordinator at {url} serves another job.")
        return Answer(state)

    async def send(
        self, job: Job, pods: tuple[Pod, ...], token: str, spec: CoordinatorSpec
    ) -> None:
        """Sends the coordinator its spec. Raises `CoordinatorRefusedError`."""
        # Never None here: `send` follows a state that the same pass read through the same pods.
        url = self._resolve(job, pods)
        try:
            await self._put(f"{url}/v1/spec", token, spec.model_dump_json(by_alias=True))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            reason = str(error) or type(error).__name__
            raise CoordinatorRefusedError(
                f"The coordinator of {job.namespace}/{job.name} at {url} didn't take its "
                f"instructions: {reason}. They are sent again."
            ) from error

    async def keep_log(
        self, job: Job, pods: tuple[Pod, ...], token: str, log: LastLog, text: bytes
    ) -> None:
        """Has the coordinator store the end of a container's log.

        Raises `CoordinatorRefusedError`.
        """
        url = self._resolve(job, pods)
        query = f"attempt={log.attempt}&failed={str(log.failed).lower()}"
        path = f"{url}/v1/logs/{log.pod}/{log.container}?{query}"
        try:
            # Stored before the answer, hence longer than for a spec.
            await self._put(path, token, text, "text/plain", LOG_SECONDS)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            reason = str(error) or type(error).__name__
            raise CoordinatorRefusedError(
                f"The coordinator of {job.namespace}/{job.name} at {url} didn't take the log of "
                f"container {log.container} of pod {log.pod}: {reason}."
            ) from error

    def _parsed(self, job: Job, text: bytes) -> CoordinatorState:
        """The very same state again while its text is the same: most polls bring nothing new."""
        key = (job.namespace, job.name)
        last = self._last.get(key)
        if last is None or last[0] != text:
            last = self._last[key] = (text, CoordinatorState.model_validate_json(text))
        return last[1]

    async def _get(self, url: str, token: str) -> bytes:
        async with self._session.get(url, headers=_bearer(token), timeout=_timeout()) as answer:
            answer.raise_for_status()
            return await answer.read()

    async def _put(
        self,
        url: str,
        token: str,
        body: str | bytes,
        content: str = "application/json",
        seconds: float | None = None,
    ) -> None:
        headers = {**_bearer(token), "Content-Type": content}
        timeout = aiohttp.ClientTimeout(total=seconds) if seconds else _timeout()
        async with self._session.put(url, headers=headers, data=body, timeout=timeout) as answer:
            answer.raise_for_status()


def _timeout() -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
