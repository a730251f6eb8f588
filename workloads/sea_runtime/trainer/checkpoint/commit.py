"""Reads and commits checkpoints in S3: fence, append, and deletion of what is no longer named.

Runs on rank 0. Every change of `head.json` is a compare-and-set; losing one means that another
attempt wrote, so the head is read again and the pure decision (`head.py`) is made again.
"""

import logging
from collections.abc import Callable

from sea_data import urls
from sea_data.object_store import ObjectNotFoundError, PreconditionFailedError, StoreError
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.trainer.checkpoint import head as heads
from sea_runtime.trainer.checkpoint.head import Entry, Head

log = logging.getLogger(__name__)


class Commits:
    """The checkpoints of one stage as one attempt sees them."""

    def __init__(self, store: ObjectStore, run_url: str, stage: str, attempt: int) -> None:
        self.store, self.attempt = store, attempt
        self.folder = urls.join(run_url, "stages", stage, "checkpoints")
        self.bucket = urls.parse(run_url).bucket
        self._url = urls.join(self.folder, "head.json")

    def step_folder(self, step: int) -> str:
        """URL of the folder that this attempt writes the checkpoint of `step` to."""
        # The attempt is part of the name: two attempts at one step never write the same object.
        return urls.join(self.folder, f"step-{step:06d}-a{self.attempt}")

    def key(self, url: str) -> str:
        return urls.parse(url).key

    def url(self, key: str) -> str:
        return str(urls.S3Url(self.bucket, key))

    def read(self) -> tuple[Head, str | None]:
        """The head and its entity tag; an empty head and None if nothing is committed yet."""
        try:
            body, etag = self.store.get_with_etag(self._url)
        except ObjectNotFoundError:
            return Head(), None
        return Head.model_validate_json(body), etag

    def _change(self, decide: Callable[[Head], Head]) -> Head:
        while True:
            # Read and write again from scratch: the decision must be made on the head that is
            # replaced.
            head, etag = self.read()
            desired = decide(head)
            if desired == head:
                return head
            try:
                # The commit point. A kill before it leaves objects that no reader sees; after it,
                # all is visible.
                self.store.put_if(self._url, desired.model_dump_json().encode(), etag)
            except PreconditionFailedError:
                # This ends: either the other attempt is newer, and `decide` raises FencedError, or
                # it is older and stops at its next compare-and-set.
                continue
            return desired

    def fence(self) -> Head:
        """Takes the stage over for this attempt: from now on no older one can commit.

        Raises:
            FencedError: a newer attempt has it.
        """
        return self._change(lambda head: heads.fence(head, self.attempt))

    def commit(self, entry: Entry, keep_last: int, keep_every: int | None) -> Head:
        """Names `entry` in the head, then deletes what the head no longer names.

        Raises:
            FencedError: a newer attempt has taken the stage over.
        """
        dropped: list[Entry] = []

        def decide(head: Head) -> Head:
            after, dropped[:] = heads.append(head, entry, self.attempt, keep_last, keep_every)
            return after

        head = self._change(decide)
        # Only after the head is written: until then readers may resume from any of them.
        for old in dropped:
            try:
                self._delete(old, head)
            except StoreError as error:  # the commit itself is done
                log.warning("Objects of step %d are kept in the store: %s", old.step, error)
        return head

    def _delete(self, entry: Entry, head: Head) -> None:
        folder = urls.folder(self.url(entry.manifest_key).rsplit("/", 1)[0])
        # A folder may hold a checkpoint that the head still names under another entry.
        if any(self.url(one.manifest_key).startswith(folder) for one in head.checkpoints):
            return
        for one in self.store.list(folder):
            self.store.delete(one.url)
        log.info("Deleted the checkpoint of step %d.", entry.step)
