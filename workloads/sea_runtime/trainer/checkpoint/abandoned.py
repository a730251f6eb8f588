"""Removes what attempts that died between upload and `head.json` have left in S3.

Rank 0 runs it in the background once it owns the stage (`restore.py`). In doubt it keeps: a folder
is deleted only if an older attempt wrote it, it has no manifest, and no manifest that `head.json`
names refers to it. An older attempt can no longer commit it, since the head carries our number;
folders of this attempt and of newer ones are never considered.
"""

import logging
import re
from collections.abc import Iterable

from sea_data import urls
from sea_runtime.trainer.checkpoint.commit import Commits
from sea_runtime.trainer.checkpoint.head import Head
from sea_runtime.trainer.checkpoint.manifest import Manifest

log = logging.getLogger(__name__)

_FOLDER = re.compile(r"step-\d{6,}-a(\d+)")
MANIFEST = "manifest.json"
"""Name of the manifest within a checkpoint's folder."""


def folders(keys: Iterable[str], root: str, attempt: int) -> set[str]:
    """Folders below `root` that attempts older than `attempt` never committed. Pure.

    Args:
        keys: all objects below `root`.
        root: with a slash at its end.
    """
    found: set[str] = set()
    kept: set[str] = set()
    for key in keys:
        name, _, rest = key.removeprefix(root).partition("/")
        shape = _FOLDER.fullmatch(name)
        if not key.startswith(root) or not rest or shape is None:
            continue
        # A folder with a manifest may be committed, or be just before its commit.
        keep = int(shape[1]) >= attempt or rest == MANIFEST
        (kept if keep else found).add(f"{root}{name}/")
    return found - kept


def remove(commits: Commits, head: Head) -> None:
    """Deletes the folders that older attempts never committed. Blocking.

    Args:
        head: as this attempt's fence left it.

    Raises:
        StoreError, ValueError: the store, or a manifest that `head` names, can't be read. Then
            nothing is deleted.
    """
    # Without the fence an older attempt could still commit what is deleted here.
    if head.attempt != commits.attempt:
        return
    root = commits.key(urls.folder(commits.folder))
    keys = [commits.key(one.url) for one in commits.store.list(urls.folder(commits.folder))]
    found = folders(keys, root, commits.attempt)
    if not found:
        return
    # Before any deletion: a manifest that can't be read may name objects in any folder.
    named = _named(commits, head)
    dropped = {one for one in found if not any(key.startswith(one) for key in named)}
    for key in keys:
        if key.startswith(tuple(dropped)):
            commits.store.delete(commits.url(key))
    for folder in sorted(dropped):
        log.info("Deleted %s, which was never committed.", commits.url(folder))


def _named(commits: Commits, head: Head) -> set[str]:
    """Keys of all objects that the head's checkpoints consist of."""
    found = {one.manifest_key for one in head.checkpoints}
    for key in tuple(found):
        manifest = Manifest.model_validate_json(commits.store.get(commits.url(key)))
        found |= {one.key for one in (*manifest.objects, manifest.ledger) if one is not None}
    return found
