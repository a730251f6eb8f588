"""What must be right before a stage starts: the data of all stages, and the base models."""

import asyncio
import logging
from collections.abc import Callable

from sea_api.v1alpha1.data import Precision, ToolFormat
from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.role_rules import engine_workers
from sea_api.v1alpha1.stages import Stage, StageType
from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_api.wire.state import Fit, PlanVerdict, StagePhase
from sea_runtime.coordinator import (
    base_model,
    data_check,
    endpoints,
    model_files,
    model_fit,
    plan_check,
    stage_plan,
)
from sea_runtime.coordinator.background import Notifiers
from sea_runtime.coordinator.data_check import CheckedData
from sea_runtime.coordinator.errors import PreconditionError
from sea_runtime.coordinator.job import Job
from sea_runtime.coordinator.ledger import stages
from sea_runtime.coordinator.ledger.database import Ledger
from sea_runtime.coordinator.problems import Problems, Source
from sea_runtime.coordinator.task_rows import TaskRow
from sea_runtime.coordinator.weights import require_stream
from sea_runtime.store import conditional_writes
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.wire.weights import ModelReply

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
RECHECK_SECONDS = 10.0

TORCH_NAMES = {Precision.FP32: "float32", Precision.BF16: "bfloat16"}


class Preconditions:
    """Checked data and prepared base models; both are made again after every start.

    Args:
        clock: monotonic seconds.
    """

    def __init__(
        self,
        job: Job,
        ledger: Ledger,
        store: ObjectStore,
        problems: Problems,
        notifiers: Notifiers,
        clock: Callable[[], float],
    ) -> None:
        self._job, self._ledger, self._store = job, ledger, store
        self._problems, self._notifiers, self._clock = problems, notifiers, clock
        self._data: CheckedData | None = None
        self._digest: str | None = None
        """Digest of the data that `_data` was read from, or that has a problem."""
        self.checks = 0
        """Checks of the data that have ended."""
        self._checked_at = 0.0
        """Monotonic seconds of the last check that found a problem."""
        self._models: dict[str, str] = {}
        self._files: set[tuple[str, bool, ToolFormat]] = set()
        """Folders whose files can be loaded, with what they were checked for."""
        self._usable: dict[str, str] = {}
        """`_models` whose files can be loaded: the data is compared with them."""
        self._fit: str | None = None
        """Digest of what the models were last found fit for."""
        self._verdict: PlanVerdict | None = None
        self._planned: str | None = None
        """Digest of what the verdict is about."""
        self._endpoints: list[tuple[str, str]] | None = None
        """The endpoints that were last found in place."""
        self._probed = ""
        """The run whose store keeps to the conditions of writes."""

    @property
    def verdict(self) -> PlanVerdict | None:
        """The verdict on the job's plan; None unless it is about the spec in force."""
        known = self._job.known
        current = known is not None and self._planned == plan_check.digest(known)
        return self._verdict if current else None

    @property
    def skipped(self) -> dict[str, int] | None:
        """Rows that were left out, by reason; None before the first check."""
        return self._data.skipped if self._data else None

    def rows(self, stage: Stage) -> list[TaskRow] | None:
        """Prompts of a stage; None while the data has a problem or is not checked."""
        if self._data is None or self._problems.found(Source.DATA) is not None:
            return None
        # An edit of the spec may name a file that the next check has yet to read.
        return self._data.rows(stage_plan.task_files(self._job.desired, stage))

    def are_checked(self) -> bool:
        """Whether the data that the spec in force names was read, and nothing was wrong with it."""
        if self._data is None or self._problems.found(Source.DATA) is not None:
            return False
        return self._digest == data_check.digest(self._job.desired, self.made())

    def are_met(self, stage: Stage) -> bool:
        """Whether the stage may start."""
        # An edit that arrived a moment ago isn't checked yet: the stage waits for its check.
        if not self.are_checked():
            return False
        if self._endpoints != list(endpoints.named(self._job.desired.spec)):
            return False
        return stage.type == StageType.SYNTHESIS or self._are_models_fit()

    def _are_models_fit(self) -> bool:
        spec = self._job.desired.spec
        complete = len(self._models) == len(stage_plan.STREAMS)
        if not complete or self._fit != model_fit.digest(spec):
            return False
        fit = self._verdict is None or self._verdict.fit is not Fit.DOES_NOT_FIT
        return fit and self._planned == plan_check.digest(self._job.desired)

    def made(self) -> frozenset[str]:
        """Synthesis stages whose data is in the store."""
        return frozenset(
            stage.name
            for stage in self._job.desired.spec.stages
            if stage.type == StageType.SYNTHESIS
            and stages.phase(self._ledger.db, stage.name) == StagePhase.COMPLETE
        )

    def model(self, stream: str) -> ModelReply | None:
        """Where the stream's base model is stored, None until it is prepared."""
        require_stream(stream)
        known = self._job.known
        if known is None or not (stream in self._models or self._have_begun()):
            return None
        spec = known.spec
        role = spec.user_model if stream == stage_plan.USER else spec.rollout
        return ModelReply(
            url=base_model.address(known, stream),
            name=spec.model.name,
            precision=TORCH_NAMES[spec.model.precision],
            context_length=spec.model.context_length,
            tensor_parallel=engine_workers(role),
            expert_parallel=role.parallelism.expert > 1,
            stage=spec.stages[known.stage_index].name
            if known.stage_index < len(spec.stages)
            else "",
            dequantize=model_files.is_trained(spec, stream),
            tool_format=spec.model.tool_format.value,
            strips_thoughts=stage_plan.strips_thoughts(spec, stream),
        )

    def _have_begun(self) -> bool:
        """Whether a stage runs that has needed the models: they were prepared before it began."""
        stage = self._job.running_stage
        return stage is not None and stage.type != StageType.SYNTHESIS

    async def look(self) -> None:
        """Checks data and prepares models if something changed or was wrong."""
        known = self._job.known
        if known is not None:
            digest = data_check.digest(known, self.made())
            problem = self._problems.found(Source.DATA)
            # The user corrects a file without touching the job, which changes no digest.
            recheck = self._clock() - self._checked_at >= RECHECK_SECONDS
            if self._digest != digest or (problem is not None and recheck):
                await self._check(known, digest)
            elif problem is None and self._endpoints != list(endpoints.named(known.spec)):
                await self._check_endpoints(known)
            elif problem is None and self._may_prepare():
                await self._prepare(known)
        await self._notifiers.background.wait(LOOK_SECONDS)

    def _may_prepare(self) -> bool:
        """The tiny model's tokenizer is fitted to the dialogues: it waits for those being made."""
        if self._are_models_fit():
            return False
        spec, stage = self._job.desired.spec, self._job.stage
        tiny = any(stage_plan.model_source(spec, s) == base_model.TINY for s in stage_plan.STREAMS)
        synthesis = stage is not None and stage.type == StageType.SYNTHESIS
        return not (tiny and synthesis and stage is not None and stage.name not in self.made())

    async def _check(self, desired: CoordinatorSpec, digest: str) -> None:
        if self._probed != desired.run_url:
            # Before anything is made: a store that ignores conditions voids every later commit.
            await asyncio.to_thread(conditional_writes.check, self._store, desired.run_url)
            self._probed = desired.run_url
        try:
            # `made()` is evaluated here, on the loop: SQLite's connection refuses other threads.
            data = await asyncio.to_thread(data_check.check, self._store, desired, self.made())
            await self._require_fit(desired, data)
        except PreconditionError as error:
            self._problems.report(Source.DATA, error.problem)
            self._checked_at = self._clock()
        else:
            # Old rows stay if a later check fails; `rows` hides them while there is a problem.
            self._data = data
            self._problems.report(Source.DATA, None)
            log.info("data checked: %s rows skipped", data.skipped or "no")
        # Of the spec that was read, not of the one that may have arrived meanwhile.
        self._digest = digest
        self.checks += 1
        self._notifiers.notify_all()

    async def _require_fit(self, desired: CoordinatorSpec, data: CheckedData | None) -> None:
        """Raises PreconditionError where the data doesn't fit the models that are prepared."""
        if data is not None:
            models = dict(self._usable)
            await asyncio.to_thread(model_files.check_data, self._store, desired.spec, models, data)

    async def _check_endpoints(self, desired: CoordinatorSpec) -> None:
        """Raises PreconditionError, which stays reported until an attempt succeeds."""
        await endpoints.check(desired.spec)
        self._endpoints = list(endpoints.named(desired.spec))
        self._notifiers.notify_all()

    async def _prepare(self, desired: CoordinatorSpec) -> None:
        """Raises PreconditionError, which stays reported until an attempt succeeds."""
        for stream in stage_plan.STREAMS:
            # One after the other: both streams may share a folder, and the
            # second then finds it ready.
            self._models[stream] = await asyncio.to_thread(
                base_model.prepare, self._store, desired, stream
            )
        configs = await asyncio.to_thread(model_fit.check, self._store, desired.spec, self._models)
        for stream, folder in self._models.items():
            await self._check_files(desired.spec, folder, stream)
        self._usable = dict(self._models)
        try:
            await self._require_fit(desired, self._data)
        except PreconditionError as error:
            # A problem of the data: it ends when the data is read again.
            self._problems.report(Source.DATA, error.problem)
            self._checked_at = self._clock()
            return
        self._fit = model_fit.digest(desired.spec)
        self._verdict = plan_check.judge(desired, configs)
        self._planned = plan_check.digest(desired)
        plan_check.require_fit(self._verdict)
        self._notifiers.notify_all()

    async def _check_files(self, spec: Spec, folder: str, stream: str) -> None:
        """Once per folder and what is done with it: an edit of the layout reads no header again."""
        looked_at = (folder, model_files.is_trained(spec, stream), spec.model.tool_format)
        if looked_at not in self._files:
            await asyncio.to_thread(model_files.check, self._store, spec, folder, stream)
            self._files.add(looked_at)
