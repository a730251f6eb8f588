"""Where weight versions are in the object store, and which of them lead to a wanted one. Pure.

    RUN/weights/STREAM/v000040/registry.json    the version: its shards' blocks and checksums
                              /shard-3-a2.bin   a rank's bytes, of an anchor
                              /delta-3-a2.bin   what turns those of the version before into its own

A version is stored once its `registry.json` is there, which the coordinator writes last. It has all
its bytes (an anchor), a delta for each shard, or both. Without torch: the coordinator reads it too.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import ValidationError

from sea_data import urls
from sea_runtime.errors import RuntimeFailure
from sea_runtime.wire.weights import WeightVersion

MANIFEST = "registry.json"
FORMAT = 1
"""Format of the manifest and of what it names."""
MAX_CHAIN = 1000
"""Deltas that are followed back at most: far more than `weights.anchorEvery` should be."""


class StoredVersionError(RuntimeFailure):
    """What the object store has of a version can't be used; another version may be."""

    permanent = False


@dataclass(frozen=True)
class Path:
    """How to get a version from the object store: start, then each delta in turn."""

    start: WeightVersion | None
    """The anchor to read; None: what the worker holds."""
    deltas: tuple[WeightVersion, ...]
    """From the oldest to the wanted version; empty where `start` is the wanted version."""


def folder(run_url: str, stream: str) -> str:
    return urls.join(run_url, "weights", stream)


def version_folder(run_url: str, stream: str, version: int) -> str:
    return urls.join(folder(run_url, stream), f"v{version:06d}")


def manifest_url(run_url: str, stream: str, version: int) -> str:
    return urls.join(version_folder(run_url, stream, version), MANIFEST)


def shard_url(run_url: str, stream: str, version: int, rank: int, attempt: int) -> str:
    # With the attempt: one that dies before its manifest must not have overwritten what the
    # manifest of the one before names.
    name = f"shard-{rank}-a{attempt}.bin"
    return urls.join(version_folder(run_url, stream, version), name)


def delta_url(run_url: str, stream: str, version: int, rank: int, attempt: int) -> str:
    # With the attempt: a delta never takes the place of one that is for another base.
    name = f"delta-{rank}-a{attempt}.bin"
    return urls.join(version_folder(run_url, stream, version), name)


def has_copy(version: WeightVersion) -> bool:
    """True for an anchor: the object store has all its bytes."""
    return bool(version.shards) and all(shard.object_url for shard in version.shards)


def has_deltas(version: WeightVersion) -> bool:
    return bool(version.shards) and all(shard.delta for shard in version.shards)


def is_stored(version: WeightVersion) -> bool:
    """True if engines can get it from the object store, given what it is based on."""
    return has_copy(version) or has_deltas(version)


def parse(body: bytes, url: str, run_url: str, stream: str) -> WeightVersion:
    """Reads the manifest that is at `url`, of a run and stream.

    Raises:
        StoredVersionError: it is truncated, of another run or stream, or of a newer format.
    """
    try:
        fields = json.loads(body)
        found = fields.get("format", FORMAT)
        if isinstance(found, int) and found > FORMAT:
            raise StoredVersionError(
                f"{url} has the format {found}, this release reads {FORMAT}: run the same release "
                "of sea-operator in all pods of the job."
            )
        version = WeightVersion.model_validate(fields)
    except (ValueError, AttributeError, ValidationError) as error:
        raise StoredVersionError(
            f"{url} is no manifest of a weight version: {str(error)[:200]}"
        ) from error
    if not version.run_url and _is_of_older_release(version, run_url, stream):
        version = version.model_copy(update={"run_url": run_url})
    if manifest_url(run_url, stream, version.version) != url or version.run_url != run_url:
        raise StoredVersionError(
            f"{url} is about version {version.version} of '{version.stream}' in "
            f"{version.run_url}: it was copied from another run or version."
        )
    return version


def _is_of_older_release(version: WeightVersion, run_url: str, stream: str) -> bool:
    """Whether it says where it belongs in the way of 0.1.0: by the addresses of its bytes alone."""
    place = version_folder(run_url, stream, version.version) + "/"
    return has_copy(version) and all(
        (shard.object_url or "").startswith(place) for shard in version.shards
    )


def path_to(
    wanted: WeightVersion,
    held: tuple[int, int] | None,
    load: Callable[[int], WeightVersion],
) -> Path:
    """The deltas from what is held, else from the newest anchor, to the wanted version.

    Args:
        held: number and attempt of the version that the worker holds; None to start at an anchor.
        load: the stored version of a number; raises StoredVersionError if there is none.

    Raises:
        StoredVersionError: the chain is broken before either is reached.
    """
    deltas: list[WeightVersion] = []
    anchored: Path | None = None
    at = wanted
    while True:
        if anchored is None and has_copy(at):
            anchored = Path(at, tuple(reversed(deltas)))
        # Farther back than what is held, only an anchor helps.
        behind = held is None or at.version <= held[0]
        if (anchored and behind) or not has_deltas(at) or len(deltas) == MAX_CHAIN:
            break
        deltas.append(at)
        base = at.shards[0].delta
        assert base is not None
        if held == (base.base_version, base.base_attempt):
            return Path(None, tuple(reversed(deltas)))
        try:
            at = _base_of(at, load)
        except StoredVersionError:
            if anchored is None:
                raise
            break
    if anchored is None:
        raise StoredVersionError(
            f"Version {wanted.version} can't be read from the object store: version {at.version} "
            f"({len(deltas)} deltas back) has neither a copy nor deltas there."
        )
    return anchored


def _base_of(version: WeightVersion, load: Callable[[int], WeightVersion]) -> WeightVersion:
    delta = version.shards[0].delta
    assert delta is not None
    if delta.base_version >= version.version:
        raise StoredVersionError(
            f"The delta of version {version.version} is for version {delta.base_version}, which is "
            "no older one."
        )
    base = load(delta.base_version)
    if base.attempt != delta.base_attempt:
        raise StoredVersionError(
            f"The delta of version {version.version} is for version {base.version} of attempt "
            f"{delta.base_attempt}; the object store has that of attempt {base.attempt}."
        )
    if _layout(base) != _layout(version):
        raise StoredVersionError(
            f"Version {version.version} is cut into other blocks than version {base.version}."
        )
    return base


def _layout(version: WeightVersion) -> list[object]:
    """What must be equal for a block's delta to be for the block of the same place."""
    return [
        (shard.rank, block.name, block.start, block.shape, block.dtype, block.offset)
        for shard in version.shards
        for block in shard.blocks
    ]
