"""`sea checkpoint`: what a run has committed, whether it is sound, and going back to it.

Works on the object store alone. `head.json` is changed by compare-and-set, as the trainer does: a
checkpoint that is committed at the same moment is never lost. Nothing outside the run's own stages
is ever touched.
"""

import argparse
import json
from collections.abc import Iterator
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from sea_cli import checkpoint_export, fetching, progress
from sea_cli.checkpoint_lookup import (
    CheckpointCommandError,
    chosen,
    manifest_of,
    stages,
    step_of,
)
from sea_cli.common import Commands, command, say
from sea_cli.options import positive
from sea_data import urls
from sea_data.object_store import ObjectNotFoundError
from sea_runtime.store.s3 import ObjectStore
from sea_runtime.trainer.checkpoint import head as heads
from sea_runtime.trainer.checkpoint.commit import Commits
from sea_runtime.trainer.errors import CheckpointError
from sea_runtime.wire.checkpoints import Entry, Head, entry_of, gone_back


def add(commands: Commands) -> None:
    for name, run, summary in (
        ("list", run_list, "show the checkpoints that a run has committed"),
        ("inspect", run_inspect, "show what one checkpoint consists of"),
        ("verify", run_verify, "download checkpoints and check every size and SHA-256"),
        ("pin", run_pin, "keep a checkpoint whatever the job's retention says"),
        ("unpin", run_unpin, "leave a pinned checkpoint to the job's retention again"),
        ("rollback", run_rollback, "let a suspended job go on from an older checkpoint"),
        ("export", checkpoint_export.run, "write a checkpoint's weights as a Hugging Face folder"),
        ("delete", run_delete, "delete a checkpoint that is neither the newest nor pinned"),
    ):
        one = name not in ("list", "verify")
        example = f"sea checkpoint {name} s3://bucket/jobs/my-job-0a1b2c3d"
        if one:
            example += " --stage rl --step 40"
        if name == "export":
            example += " --out s3://bucket/models/step-40"
        parser = command(commands, name, summary, example)
        parser.add_argument("url", type=_run_url, metavar="RUN", help="s3:// address of the run")
        parser.add_argument("--stage", required=one, help="name of the stage")
        parser.add_argument("--step", required=one, type=positive, help="step of the checkpoint")
        if name == "export":
            parser.add_argument("--out", required=True, help=f"empty {fetching.FOLDER}")
        if name == "list":
            parser.add_argument("--json", action="store_true", help="print one JSON object")
        parser.set_defaults(run=run)


def run_list(given: argparse.Namespace) -> int:
    found = list(stages(given.url, given.stage))
    if given.json:
        say(json.dumps({stage: commits.read()[0].model_dump() for stage, commits in found}))
        return 0
    table = Table("stage", "step", "version", "committed", "size", "")
    for stage, commits in found:
        head, _ = commits.read()
        listed = [*head.checkpoints, *head.damaged, *head.kept]
        for entry in sorted(listed, key=lambda one: one.step):
            table.add_row(
                stage,
                str(entry.step),
                str(entry.version),
                datetime.fromtimestamp(entry.time, UTC).strftime("%Y-%m-%d %H:%M:%S"),
                f"{entry.bytes / 1e9:.3f} GB",
                _marks(entry, head),
            )
    Console().print(table)
    return 0


def _marks(entry: Entry, head: Head) -> str:
    marks = {
        "newest": entry == head.newest,
        "pinned": entry.pinned,
        "damaged": entry in head.damaged,
        "left": entry in head.kept,
    }
    return ", ".join(name for name, holds in marks.items() if holds)


def run_inspect(given: argparse.Namespace) -> int:
    commits, entry = chosen(given)
    manifest = manifest_of(commits, entry)
    say(f"{commits.url(entry.manifest_key)}")
    say(f"step {manifest.step}, version {manifest.version} of stream {manifest.stream}")
    say(f"saved by attempt {manifest.attempt} on {manifest.world_size} ranks")
    if manifest.finished:
        say("the stage ended with it")
    for stored in manifest.everything:
        say(f"  {stored.size:>15,}  {commits.url(stored.key)}")
    return 0


def run_verify(given: argparse.Namespace) -> int:
    """0 if everything is as the manifests name it, 1 otherwise."""
    damaged = 0
    for stage, commits in stages(given.url, given.stage):
        for entry in commits.read()[0].checkpoints:
            if given.step not in (None, entry.step):
                continue
            faults = list(_faults(commits, entry, f"{stage} step {entry.step}"))
            damaged += bool(faults)
            say(f"{stage} step {entry.step}: {'damaged' if faults else 'sound'}")
            for fault in faults:
                say(f"  {fault}")
    return 1 if damaged else 0


def _faults(commits: Commits, entry: Entry, label: str) -> Iterator[str]:
    # Not at the top: numpy, for one command of many.
    from sea_runtime.trainer.checkpoint.reader import damage

    try:
        manifest = manifest_of(commits, entry)
    except (CheckpointCommandError, CheckpointError, ObjectNotFoundError) as error:
        yield str(error)
        return
    with progress.bar(label, len(manifest.everything)) as advance:
        for one in manifest.everything:
            fault = damage(commits, manifest, one)
            if fault:
                yield fault
            advance(one.key.rpartition("/")[2])


def run_pin(given: argparse.Namespace) -> int:
    return _pin(given, True)


def run_unpin(given: argparse.Namespace) -> int:
    return _pin(given, False)


def _pin(given: argparse.Namespace, pin: bool) -> int:
    commits, _ = chosen(given)
    # The entry may be dropped at this moment: the decision is made on the head that is replaced.
    commits.change(lambda head: heads.pinned(head, step_of(head, given), pin))
    say(f"{given.stage} step {given.step} is {'pinned' if pin else 'not pinned any more'}.")
    return 0


def run_rollback(given: argparse.Namespace) -> int:
    """The ledger, the weights and the place in the data go back with it when the job resumes."""
    commits, entry = chosen(given)
    _require_suspended(commits.store, given.url, given.stage, commits.read()[0])
    later: list[Entry] = []

    def decide(head: Head) -> Head:
        after, later[:] = gone_back(head, step_of(head, given))
        return after

    head = commits.change(decide)
    for dropped in later:
        if not dropped.pinned:
            commits.delete(dropped, head)
    say(f"Stage {given.stage} goes on from step {entry.step} (version {entry.version}).")
    for dropped in later:
        kept = " Pinned: its objects stay until you delete them." if dropped.pinned else ""
        say(f"The checkpoint of step {dropped.step} is not part of the run any more.{kept}")
    say("Resume the job now: set spec.suspend to false.")
    return 0


def run_delete(given: argparse.Namespace) -> int:
    commits, _ = chosen(given)

    def decide(head: Head) -> Head:
        entry = entry_of(head, step_of(head, given))
        if entry == head.newest:
            raise CheckpointCommandError(
                f"Step {entry.step} is the newest checkpoint of stage {given.stage}: the job goes "
                "on from it. Go back to an older one with `sea checkpoint rollback`."
            )
        if entry.pinned:
            raise CheckpointCommandError(
                f"Step {entry.step} is pinned. Unpin it first: `sea checkpoint unpin`."
            )
        return heads.without(head, entry.step)

    before, _ = commits.read()
    entry = entry_of(before, step_of(before, given))
    commits.delete(entry, commits.change(decide))
    say(f"The checkpoint of step {given.step} of stage {given.stage} is deleted.")
    return 0


def _require_suspended(store: ObjectStore, run_url: str, stage: str, head: Head) -> None:
    """A trainer that runs would commit its next step after the ones that are dropped."""
    newest = head.newest
    try:
        note = json.loads(store.get(urls.join(run_url, "ledger", "drained.json")))
    except ObjectNotFoundError:
        note = {}
    if newest is None or note.get("checkpoint") != [stage, newest.step]:
        raise CheckpointCommandError(
            f"The job doesn't look suspended in stage {stage}: {run_url}/ledger/drained.json is "
            "missing or older than the newest checkpoint. Set spec.suspend to true, wait for the "
            "condition Suspended, then go back."
        )
    if store.exists(urls.join(run_url, "stages", stage, "export", "READY.json")):
        raise CheckpointCommandError(
            f"Stage {stage} has ended and its model is exported; it doesn't run "
            "again. Create a job that goes on from the older checkpoint (startFrom)."
        )


def _run_url(text: str) -> str:
    if not text.startswith("s3://"):
        raise argparse.ArgumentTypeError(
            f"{text} is no address of a run: use s3://bucket/prefix/NAME-UID, as in run.json"
        )
    return text.rstrip("/")
