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

from sea_cli import checkpoint_export, fetching, progress, suspension
from sea_cli.checkpoint_lookup import (
    CheckpointCommandError,
    chosen,
    manifest_of,
    named,
    stages,
)
from sea_cli.common import Commands, command, say
from sea_cli.options import positive
from sea_data.object_store import ObjectNotFoundError
from sea_runtime.trainer.checkpoint import head as heads
from sea_runtime.trainer.checkpoint.commit import Commits
from sea_runtime.trainer.errors import CheckpointError
from sea_runtime.wire.checkpoints import Entry, Head, gone_back


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
        if name != "list":
            parser.add_argument(
                "--attempt", type=positive, help="attempt that saved it, if the step has several"
            )
        if name == "export":
            parser.add_argument("--out", required=True, help=f"empty {fetching.FOLDER}")
        if name == "list":
            parser.add_argument("--json", action="store_true", help="print one JSON object")
        parser.set_defaults(run=run)


def run_list(given: argparse.Namespace) -> int:
    found = {stage: commits.read()[0] for stage, commits in stages(given.url, given.stage)}
    if given.json:
        say(json.dumps({stage: head.model_dump() for stage, head in found.items()}))
        return 0
    if not any(_listed(head) for head in found.values()):
        say(_nothing_yet(given))
        return 0
    table = Table("stage", "step", "attempt", "version", "committed", "size", "")
    for stage, head in found.items():
        for entry in sorted(_listed(head), key=lambda one: one.step):
            table.add_row(
                stage,
                str(entry.step),
                str(entry.attempt),
                str(entry.version),
                datetime.fromtimestamp(entry.time, UTC).strftime("%Y-%m-%d %H:%M:%S"),
                f"{entry.bytes / 1e9:.3f} GB",
                _marks(entry, head),
            )
    Console().print(table)
    return 0


def _listed(head: Head) -> list[Entry]:
    return [*head.checkpoints, *head.damaged, *head.kept]


def _nothing_yet(given: argparse.Namespace) -> str:
    where = f"stage {given.stage} of {given.url}" if given.stage else given.url
    return f"No checkpoint of {where} is committed yet."


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
    """0 if everything is as the manifests name it, also before the first commit; 1 otherwise."""
    damaged = found = 0
    listed = False
    for stage, commits in stages(given.url, given.stage):
        head, _ = commits.read()
        listed = listed or bool(_listed(head))
        for entry, note in _to_verify(head, given):
            found += 1
            faults = list(_faults(commits, entry, f"{stage} step {entry.step}"))
            damaged += bool(faults)
            say(f"{stage} step {entry.step}{note}: {'damaged' if faults else 'sound'}")
            for fault in faults:
                say(f"  {fault}")
    if not found and not listed and given.step is None:
        say(f"{_nothing_yet(given)} There is nothing to verify.")
        return 0
    if not found:
        asked = "no checkpoint" if given.step is None else f"no checkpoint of step {given.step}"
        raise CheckpointCommandError(f"{given.url} has {asked} that could be verified.")
    return 1 if damaged else 0


def _to_verify(head: Head, given: argparse.Namespace) -> Iterator[tuple[Entry, str]]:
    """Those that were asked for, with a note; without a step all but what is known as damaged."""
    known = [(one, "") for one in head.checkpoints]
    known += [(one, f" of attempt {one.attempt}, left") for one in head.kept]
    if given.step is not None:
        known += [(one, f" of attempt {one.attempt}, set aside") for one in head.damaged]
    for entry, note in known:
        if given.step in (None, entry.step) and given.attempt in (None, entry.attempt):
            yield entry, note


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
    commits.change(lambda head: heads.pinned(head, named(head, given), pin))
    say(f"{given.stage} step {given.step} is {'pinned' if pin else 'not pinned any more'}.")
    return 0


def run_rollback(given: argparse.Namespace) -> int:
    """The ledger, the weights and the place in the data go back with it when the job resumes."""
    commits, entry = chosen(given)
    before, _ = commits.read()
    if entry in before.damaged:
        raise CheckpointCommandError(
            f"The checkpoint of step {entry.step} is set aside as damaged, and would be again. "
            "Choose another one, or restore its objects, check them with `sea checkpoint verify`, "
            "and move its entry in head.json from 'damaged' to 'checkpoints'."
        )
    suspended = suspension.require(commits.store, given.url, given.stage, before)
    # Before the head: whenever this command is killed, the job looks suspended to the next one.
    suspension.keep(commits.store, suspended, before, entry)
    later: list[Entry] = []

    def decide(head: Head) -> Head:
        found = named(head, given)
        after, later[:] = gone_back(head, found.step, found.attempt)
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
    """Also one that the run has left, or set aside: nobody else deletes those."""
    commits, entry = chosen(given)

    def decide(head: Head) -> Head:
        found = named(head, given)
        if found == head.newest:
            raise CheckpointCommandError(
                f"Step {found.step} is the newest checkpoint of stage {given.stage}: the job goes "
                "on from it. Go back to an older one with `sea checkpoint rollback`."
            )
        if found.pinned:
            raise CheckpointCommandError(
                f"Step {found.step} is pinned. Unpin it first: `sea checkpoint unpin`."
            )
        return heads.without(head, found)

    commits.delete(entry, commits.change(decide))
    say(f"The checkpoint of step {given.step} of stage {given.stage} is deleted.")
    return 0


def _run_url(text: str) -> str:
    if not text.startswith("s3://"):
        raise argparse.ArgumentTypeError(
            f"{text} is no address of a run: use s3://bucket/prefix/NAME-UID, as in run.json"
        )
    return text.rstrip("/")
