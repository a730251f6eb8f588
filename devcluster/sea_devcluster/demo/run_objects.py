"""Reads what a run wrote into its part of the object store."""

import builtins
import json
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from sea_devcluster.demo.errors import DemoError
from sea_devcluster.demo.job import client
from sea_devcluster.demo.target import ObjectServer


class RunObjects:
    """Objects below `status.runUrl`."""

    def __init__(self, run_url: str, server: ObjectServer) -> None:
        parts = urlsplit(run_url)
        self._bucket, self._prefix = parts.netloc, parts.path.strip("/")
        self._endpoint = server.endpoint
        self._s3 = client(server)

    def metrics(self) -> list[dict[str, Any]]:
        """One row an optimizer step."""
        lines = self._read("reports/metrics.jsonl").splitlines()
        return [json.loads(line) for line in lines if line.strip()]

    def timeline(self) -> list[dict[str, Any]]:
        """Spans of generation, training, updates and checkpoints."""
        spans: list[dict[str, Any]] = json.loads(self._read("reports/timeline.json"))
        return spans

    def json(self, key: str) -> Any:
        """An object below the run's root, parsed."""
        return json.loads(self._read(key))

    def bytes(self, key: str) -> builtins.bytes:
        """An object below the run's root."""
        return self.by_key(f"{self._prefix}/{key}")

    def by_key(self, key: str) -> builtins.bytes:
        """An object by its whole key in the run's bucket."""
        try:
            reply = self._s3.get_object(Bucket=self._bucket, Key=key)
            body: builtins.bytes = reply["Body"].read()
        except (BotoCoreError, ClientError) as error:
            raise DemoError(
                f"s3://{self._bucket}/{key} can't be read from {self._endpoint}: {error}"
            ) from error
        return body

    def _read(self, key: str) -> str:
        return self.bytes(key).decode()
