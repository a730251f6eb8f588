"""What a trainer tells about its steps: progress, weights, checkpoints with real objects."""

import hashlib
import json
import time

from sea_data import urls
from sea_runtime.client.sync_client import CoordinatorClient
from sea_runtime.wire.trainer import CheckpointCommitted, StageDone, StageProgress, TrainerTask
from sea_runtime.wire.weights import Shard, WeightVersion
from sea_testing.coordinator.job import Job


class Reports:
    """Of the task of one attempt."""

    def __init__(
        self, job: Job, client: CoordinatorClient, task: TrainerTask, attempt: int
    ) -> None:
        self._store, self._client = job.store, client
        self._task, self._attempt = task, attempt

    def progress(self, step: int, total: int, **more: float) -> None:
        metrics = {"loss": 1.0 / step, "tokens": 100.0, "train_s": 0.01, **more}
        row = StageProgress(attempt=self._attempt, step=step, total_steps=total, metrics=metrics)
        self._client.progress(self._task.stage, row)

    def publish(self, version: int, step: int, anchor: bool = False) -> None:
        """An anchor's bytes lie in the store, any other's nowhere."""
        task = self._task
        url = f"{task.run_url}/weights/{task.stream}/v{version:06d}/shard-0.bin"
        if anchor:
            self._store.put(url, b"weights")
        shard = Shard(rank=0, nbytes=7, blocks=[], object_url=url if anchor else None)
        self._client.publish(
            WeightVersion(
                stream=task.stream,
                version=version,
                attempt=self._attempt,
                stage=task.stage,
                step=step,
                shards=[shard],
            )
        )

    def checkpoint(self, step: int, version: int) -> None:
        """Snapshot, manifest, head: as the product's saver does."""
        task, attempt = self._task, self._attempt
        taken = self._client.snapshot(task.stage, step, attempt)
        body = self._store.get(str(urls.S3Url(urls.parse(task.run_url).bucket, taken.key)))
        assert hashlib.sha256(body).hexdigest() == taken.sha256
        folder = f"stages/{task.stage}/checkpoints/step-{step:06d}-a{attempt}"
        manifest = urls.join(task.run_url, f"{folder}/manifest.json")
        self._store.put(manifest, b"{}")
        key = urls.parse(manifest).key
        entry = {"step": step, "version": version, "manifest_key": key, "bytes": 10}
        head = {"checkpoints": [{**entry, "time": time.time()}]}
        self._store.put(self._head(), json.dumps(head).encode())
        self._client.committed(
            task.stage,
            CheckpointCommitted(
                attempt=attempt, step=step, version=version, bytes=10, manifest_key=key
            ),
        )

    def resume_step(self) -> int:
        """Of the newest checkpoint, 0 where there is none."""
        if not self._store.exists(self._head()):
            return 0
        step: int = json.loads(self._store.get(self._head()))["checkpoints"][-1]["step"]
        return step

    def done(self, step: int) -> None:
        message = StageDone(attempt=self._attempt, step=step)
        self._client.done(self._task.stage, message)

    def _head(self) -> str:
        return urls.join(self._task.run_url, f"stages/{self._task.stage}/checkpoints/head.json")
