"""A job's place in the bucket, with its data."""

import json
import os
import uuid
from typing import Any

from sea_devcluster.s3 import S3Server
from sea_runtime.store.s3 import ObjectStore
from sea_testing.coordinator.rows import SHOP_DATABASE, dialogue, task_row
from sea_testing.waiting import HANG_S


class JobFiles:
    """A prefix of its own on a shared server; data are uploaded at once."""

    def __init__(self, s3: S3Server) -> None:
        os.environ.update(s3.environment())
        self.s3 = s3
        self.uid = uuid.uuid4().hex
        self.root = f"s3://runs/{self.uid}"
        self.run_url = f"{self.root}/job-{self.uid[:8]}"
        self.store = ObjectStore(retry_timeout=HANG_S)
        self.upload_data()

    def upload_data(self) -> None:
        self.put_rows("rl.jsonl", [task_row(i) for i in range(12)])
        self.put_rows("eval.jsonl", [task_row(100 + i) for i in range(6)])
        self.put_rows("sft.jsonl", [dialogue(i) for i in range(20)])
        self.store.put(f"{self.root}/databases/shop/bad.json", b'{"users": {}}')
        for i in range(2):
            self.store.put(f"{self.root}/databases/shop/db{i}.json", SHOP_DATABASE)

    def put_rows(self, name: str, rows: list[Any]) -> None:
        self.store.put(f"{self.root}/{name}", "".join(json.dumps(r) + "\n" for r in rows).encode())
