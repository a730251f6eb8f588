"""Runs a command inside a running sandbox, with `nsenter` (util-linux).

For an ordinary user bubblewrap 0.8 nests a second user namespace into the one that owns the
sandbox's other namespaces, and `nsenter --target PID --user` enters the inner one, which has no
rights over the others ("reassociate to namespace 'ns/ipc' failed"). So the owner is looked up with
an ioctl and passed as a file. A test fails when a newer bubblewrap no longer needs this.
"""

import asyncio
import contextlib
import fcntl
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

NS_GET_USERNS = 0xB701
"""ioctl_ns(2): a descriptor of the user namespace that owns a namespace."""
_OUTPUT_BYTES = 1024


@dataclass(frozen=True)
class ExecResult:
    """Result of a command inside a container; `exit_code` is None if it took too long."""

    exit_code: int | None
    output: str


async def execute(
    pid: int, command: Sequence[str], env: Mapping[str, str], seconds: float
) -> ExecResult:
    """Run a command in the namespaces of the process `pid` (exec probes)."""
    try:
        # Open only during the fork: nsenter inherits the descriptor.
        with _owner(pid) as (user, descriptors):
            process = await asyncio.create_subprocess_exec(
                *("nsenter", "--target", str(pid), *user),
                # No --net: pods share the host's network. --wd: the working directory of the
                # target.
                *("--mount", "--pid", "--ipc", "--uts", "--wd", "--", *command),
                env=dict(env),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                pass_fds=descriptors,
            )
    except OSError as error:
        return ExecResult(None, f"it couldn't be started: {error}")
    try:
        async with asyncio.timeout(seconds):
            # communicate, not wait: a command that fills the pipe would never end.
            output, _ = await process.communicate()
        return ExecResult(process.returncode, output[:_OUTPUT_BYTES].decode(errors="replace"))
    except TimeoutError:
        return ExecResult(None, f"it took longer than {seconds:g} s")
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                # The whole session: nsenter forks for --pid, and its child does the work.
                os.killpg(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def _owner(pid: int) -> Iterator[tuple[list[str], tuple[int, ...]]]:
    """nsenter's options for the user namespace, and the descriptors they refer to."""
    # For root bubblewrap makes no user namespace (--unshare-user isn't among NAMESPACES).
    if os.geteuid() == 0:
        yield [], ()
        return
    with Path(f"/proc/{pid}/ns/ipc").open("rb") as namespace:
        # The ioctl returns a new descriptor, which must be closed.
        owner = fcntl.ioctl(namespace, NS_GET_USERNS)
    try:
        yield [f"--user=/proc/self/fd/{owner}", "--preserve-credentials"], (owner,)
    finally:
        os.close(owner)
