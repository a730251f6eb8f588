"""Reads and commits checkpoints in S3: fence, append, and deletion of what nothing names.

Runs on rank 0. Every change of `head.json` is a compare-and-set; losing one means that another
attempt wrote, so the head is read again and the pure decision (`head.py`) is made again.

What attempts have left that died between upload and `head.json`, or between `head.json` and the
deletion of what it no longer names (retention, going back), is removed in the background once rank
0 owns the stage (`restore.py`). In doubt it stays: a folder is deleted only if an older attempt
wrote it, `head.json` doesn't list its manifest, and no manifest that it names refers to it. An
older attempt can no longer commit it, since the head carries our number; folders of this attempt
and of newer ones are never considered. Whole checkpoints that are found while the head doesn't say
that all of them are known (it was lost, or is an older release's) are listed in it as kept.
"""

import copy
import logging
import re
from collections.abc import Callable, Iterable, Sequence

from sea_data import urls
from sea_data.object_store import ObjectNotFoundError, PreconditionFailedError, StoreError
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.trainer.checkpoint import head as heads
from sea_runtime.trainer.checkpoint.head import MANIFEST, parse_manifest
from sea_runtime.trainer.errors import CheckpointError
from sea_runtime.wire.checkpoints import Entry, Head

log = logging.getLogger(__name__)
_FOLDER = re.compile(r"step-\d{6,}-a(\d+)")


class Commits:
    """The checkpoints of one stage as one attempt sees them."""

    def __init__(self, store: ObjectStore, run_url: str, stage: str, attempt: int) -> None:
        self.store, self.attempt, self.run_url = store, attempt, run_url
        self.folder = urls.join(run_url, "stages", stage, "checkpoints")
        self.bucket = urls.parse(run_url).bucket
        self._url = urls.join(self.folder, "head.json")

    def watched(self, gives_up: Callable[[], bool]) -> "Commits":
        """The same; `gives_up` may end calls to a store that is away (`ObjectStore.watched`)."""
        other = copy.copy(self)
        other.store = self.store.watched(gives_up)
        return other

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

    def change(self, decide: Callable[[Head], Head]) -> Head:
        """Replaces the head by what is decided on it, by compare-and-set."""
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
        return self.change(lambda head: heads.fence(head, self.attempt))

    def commit(
        self, entry: Entry, keep_last: int, keep_every: int | None, exported: int | None = None
    ) -> Head:
        """Names `entry` in the head, then deletes what the head no longer names.

        Raises:
            FencedError: a newer attempt has taken the stage over.
        """
        dropped: list[Entry] = []

        def decide(head: Head) -> Head:
            after, dropped[:] = heads.append(
                head, entry, self.attempt, keep_last, keep_every, exported
            )
            return after

        head = self.change(decide)
        # Only after the head is written: until then readers may resume from any of them.
        for old in dropped:
            try:
                self.delete(old, head)
            except StoreError as error:  # the commit itself is done
                log.warning("Objects of step %d are kept in the store: %s", old.step, error)
        return head

    def set_aside(self, entry: Entry) -> Head:
        """Names a checkpoint as damaged: the one before is the newest from now on.

        Raises:
            FencedError: a newer attempt has taken the stage over.
        """
        return self.change(lambda head: heads.without_damaged(head, entry, self.attempt))

    def delete(self, entry: Entry, head: Head) -> None:
        """Deletes the objects of a checkpoint that `head` no longer names."""
        folder = urls.folder(self.url(entry.manifest_key).rsplit("/", 1)[0])
        # A folder may hold a checkpoint that the head still names under another entry.
        if any(self.url(one.manifest_key).startswith(folder) for one in head.checkpoints):
            return
        for one in self.store.list(folder):
            self.store.delete(one.url)
        log.info("Deleted the checkpoint of step %d.", entry.step)


def folders_of_older(keys: Iterable[str], root: str, attempt: int) -> set[str]:
    """Folders below `root` that attempts older than `attempt` wrote. Pure.

    Args:
        keys: all objects below `root`.
        root: with a slash at its end.
    """
    found: set[str] = set()
    for key in keys:
        name, _, rest = key.removeprefix(root).partition("/")
        shape = _FOLDER.fullmatch(name)
        if not key.startswith(root) or not rest or shape is None:
            continue
        if int(shape[1]) < attempt:
            found.add(f"{root}{name}/")
    return found


def clean_up(commits: Commits, head: Head) -> None:
    """As `remove_abandoned`, but what keeps it from deleting anything stops no training."""
    try:
        remove_abandoned(commits, head)
    except (StoreError, ValueError, CheckpointError) as error:
        log.warning("Objects of checkpoints that were never committed are kept: %s", error)


def remove_abandoned(commits: Commits, head: Head) -> None:
    """Deletes the folders of older attempts that the head doesn't list, and unfinished uploads.

    Blocking.

    Args:
        head: as this attempt's fence left it.

    Raises:
        StoreError, ValueError, CheckpointError: the store, or a manifest that `head` names, can't
            be read. Then no object is deleted.
    """
    # Without the fence an older attempt could still commit what is deleted here.
    if head.attempt != commits.attempt:
        return
    root = commits.key(urls.folder(commits.folder))
    try:
        commits.store.abort_uploads(
            urls.folder(commits.folder),
            lambda url: bool(folders_of_older([commits.key(url)], root, commits.attempt)),
        )
    # Another right than the others (s3:ListBucketMultipartUploads), and not every server can do it.
    except StoreError as error:
        log.warning("Unfinished uploads of older attempts are kept: %s", error)
    keys = [commits.key(one.url) for one in commits.store.list(urls.folder(commits.folder))]
    found = folders_of_older(keys, root, commits.attempt)
    if not head.kept_known or not head.checkpoints:
        # The head was lost, or emptied by a person: whole checkpoints aren't lost with it, nor
        # later, when the head names those of the line that begins now. Or it is of a release that
        # didn't list what a rollback left pinned.
        own = {one.manifest_key for one in head.checkpoints}
        whole = {f"{one}{MANIFEST}" for one in found} & set(keys) - own
        left = sorted(whole - _listed(head))
        if left or not head.kept_known:
            head = _keep(commits, left)
        found -= {one.removesuffix(MANIFEST) for one in whole}
    if not found:
        return
    # Before any deletion: a manifest that can't be read may name objects in any folder.
    named = _named(commits, head)
    dropped = {one for one in found if not any(key.startswith(one) for key in named)}
    for key in keys:
        if key.startswith(tuple(dropped)):
            commits.store.delete(commits.url(key))
    for folder in sorted(dropped):
        log.info("Deleted %s, which no checkpoint consists of.", commits.url(folder))


def _keep(commits: Commits, manifests: Sequence[str]) -> Head:
    """The head that lists these checkpoints as kept, and says that there are no others."""
    entries = []
    for key in manifests:
        url = commits.url(key)
        one = parse_manifest(commits.store.get(url), url)
        entries.append(
            Entry(
                step=one.step, version=one.version, manifest_key=key, bytes=one.bytes, time=one.time
            )
        )

    def decide(head: Head) -> Head:
        owned = heads.fence(head, commits.attempt)
        update = {"kept": [*owned.kept, *entries], "kept_known": True}
        return owned.model_copy(update=update)

    return commits.change(decide)


def _listed(head: Head) -> set[str]:
    """Manifests of checkpoints that are kept for a person."""
    return {one.manifest_key for one in (*head.damaged, *head.kept)}


def _named(commits: Commits, head: Head) -> set[str]:
    """Keys of all objects that the head's checkpoints consist of."""
    found = {one.manifest_key for one in head.checkpoints}
    for key in tuple(found):
        url = commits.url(key)
        found |= {one.key for one in parse_manifest(commits.store.get(url), url).everything}
    # Not read: the manifests of those that are damaged may be what can't be.
    return found | _listed(head)
