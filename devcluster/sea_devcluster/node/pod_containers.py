"""All containers of one pod: init containers in order, sidecars, then the main containers."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from .container import ContainerRunner
from .container_record import ContainerRecord, from_status
from .context import NodeContext
from .exit_status import should_restart
from .kube_json import Json
from .launch import PodSetup


class PodContainers:
    """Starts, awaits and stops the containers of one pod in the order Kubernetes defines."""

    def __init__(
        self, context: NodeContext, setup: PodSetup, on_change: Callable[[], None]
    ) -> None:
        spec = setup.pod["spec"]
        status = setup.pod.get("status") or {}
        self._policy = str(spec.get("restartPolicy", "Always"))
        self._stopping = False
        first = "PodInitializing" if spec.get("initContainers") else "ContainerCreating"
        make = _RunnerFactory(context, setup, on_change)
        self._init = [
            make(one, status.get("initContainerStatuses"), _init_policy(one, self._policy), first)
            for one in spec.get("initContainers") or []
        ]
        self._main = [
            make(one, status.get("containerStatuses"), self._policy, first)
            for one in spec["containers"]
        ]
        self._sidecar_names = {
            one["name"]
            for one in spec.get("initContainers") or []
            if one.get("restartPolicy") == "Always"
        }
        self._sidecars: list[tuple[ContainerRunner, asyncio.Task[None]]] = []

    def records(self) -> list[ContainerRecord]:
        """The main containers' records, in the spec's order."""
        return [runner.record for runner in self._main]

    def init_records(self) -> list[ContainerRecord]:
        """The init containers' records, in the spec's order."""
        return [runner.record for runner in self._init]

    def find(self, name: str) -> ContainerRunner | None:
        """The container of that name."""
        return next((one for one in [*self._init, *self._main] if one.name == name), None)

    async def run(self) -> None:
        """Runs until the main containers ended, an init container failed, or `stop` was called."""
        main = [runner for runner in self._main if self._runs(runner)]
        # All init containers first; sidecars among them go on running.
        if main and await self._initialize():
            await _together([runner.run() for runner in main])
        # After the main containers, whose last words a sidecar may have to carry. 30 s is
        # Kubernetes' default grace period: a pod that ends by itself has no deadline.
        await self._stop_sidecars(30.0)

    async def stop(self, grace: float) -> None:
        """Stops the main containers, then the sidecars in reverse order in the remaining time."""
        # Before the first await: `_initialize` must not start another container.
        self._stopping = True
        loop = asyncio.get_running_loop()
        # Main containers and sidecars share one grace period, as with a kubelet.
        deadline = loop.time() + grace
        plain = [one for one in self._init if one.name not in self._sidecar_names]
        await _together([runner.stop(grace) for runner in [*plain, *self._main]])
        await self._stop_sidecars(max(0.0, deadline - loop.time()))

    async def _initialize(self) -> bool:
        """Runs the init containers; False if the main containers must not start."""
        for runner in self._init:
            if self._stopping:
                return False
            if runner.name in self._sidecar_names:
                # Recorded before the wait: `stop` during it must find the sidecar.
                self._sidecars.append((runner, asyncio.ensure_future(runner.run())))
                await runner.until_started()
                continue
            await runner.run()
            ended = runner.record.terminated
            if ended is None or ended.exit_code != 0:
                return False
        return not self._stopping

    async def _stop_sidecars(self, grace: float) -> None:
        # One after another, last started first: a sidecar may need those that started before it.
        for runner, task in reversed(self._sidecars):
            await runner.stop(grace)
            await task

    def _runs(self, runner: ContainerRunner) -> bool:
        """True unless the container finished under an earlier agent."""
        ended = runner.record.terminated
        return ended is None or should_restart(self._policy, ended.exit_code)


class _RunnerFactory:
    """Creates runners that continue where an earlier agent stopped."""

    def __init__(
        self, context: NodeContext, setup: PodSetup, on_change: Callable[[], None]
    ) -> None:
        self._context = context
        self._setup = setup
        self._on_change = on_change

    def __call__(
        self, container: Json, statuses: Sequence[Json] | None, policy: str, reason: str
    ) -> ContainerRunner:
        known = {one["name"]: one for one in statuses or []}
        name, image = container["name"], container["image"]
        record = from_status(name, image, known.get(name), self._context.now())
        if record.terminated is None or should_restart(policy, record.terminated.exit_code):
            record = record.as_waiting(reason)
        return ContainerRunner(
            self._context, self._setup, container, record, policy, self._on_change
        )


def _init_policy(container: Json, pod_policy: str) -> str:
    if container.get("restartPolicy") == "Always":
        return "Always"
    return "Never" if pod_policy == "Never" else "OnFailure"


async def _together(work: Sequence[Coroutine[Any, Any, None]]) -> None:
    await asyncio.gather(*work)
