"""One-sided reads between processes over NIXL: trainer ranks serve, engines pull.

A `NixlSource` registers host buffers and publishes its metadata (through the coordinator); a
`NixlSink` reads from them without the source's help. No process group spans the two: either may
die at any time and the other sees an error or a time-out. RDMA if there is a card, TCP and shared
memory otherwise; on machines without an accelerator TCP only, since pods share no memory.
"""

import base64
import contextlib
import logging
import os
import time
import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from nixl._api import nixl_agent, nixl_agent_config

from sea_runtime.errors import RuntimeFailure
from sea_runtime.parallel.regions import Run
from sea_runtime.transport.nixl_busy_poll import sleeping_progress_thread

log = logging.getLogger(__name__)
# A shard takes milliseconds over RDMA; without a sleep the poll would use a whole core.
POLL_SECONDS = 0.0005


class NixlReadError(RuntimeFailure):
    """The source is gone or refused the read: retry with the newest version's metadata."""

    permanent = False


class NixlReadTimeoutError(NixlReadError, TimeoutError):
    """The source did not answer within the given time."""


def _agent(name: str, progress_thread: bool) -> Any:
    """An agent with a unique name: a restarted process is never mistaken for the one before."""
    if not torch.cuda.is_available():
        # UCX reads it when the agent is created. Shared memory would be chosen otherwise and then
        # fail between pods.
        os.environ.setdefault("UCX_TLS", "tcp")
    config = nixl_agent_config(enable_prog_thread=progress_thread, backends=["UCX"])
    with sleeping_progress_thread():
        return nixl_agent(f"{name}-{uuid.uuid4().hex[:8]}", config)


def _require_flat_bytes(buffer: torch.Tensor) -> None:
    if buffer.dtype != torch.uint8 or buffer.dim() != 1 or not buffer.is_contiguous():
        raise ValueError(
            f"NIXL buffers are contiguous 1-D uint8 tensors, not {buffer.dtype} "
            f"{tuple(buffer.shape)}: use sea_runtime.transport.manifest.allocate."
        )


class NixlSource:
    """Serves registered host buffers of this process; one per trainer rank."""

    def __init__(self, name: str) -> None:
        # With a progress thread: over TCP the source has to answer reads while Python trains.
        self._agent = _agent(name, progress_thread=True)
        self._registered: dict[int, tuple[torch.Tensor, Any]] = {}

    @property
    def name(self) -> str:
        """The agent's unique name: `Shard.nixl_agent`."""
        return str(self._agent.name)

    def register(self, buffer: torch.Tensor) -> int:
        """Makes a host tensor, uint8 [n], readable; returns its address (`Shard.nixl_address`).

        Keeps the buffer alive. Registering the same buffer again costs nothing. Register all
        rotating buffers before the first `metadata_b64`: the metadata then never changes.
        """
        _require_flat_bytes(buffer)
        address = buffer.data_ptr()
        known = self._registered.get(address)
        if known is None or known[0].numel() != buffer.numel():
            self.unregister(address)
            # The buffer is kept alive as long as it is registered: remote reads go to its address.
            self._registered[address] = (buffer, self._agent.register_memory(buffer))
        return address

    def unregister(self, address: int) -> None:
        """Makes a buffer unreadable; unknown addresses are ignored."""
        known = self._registered.pop(address, None)
        if known is not None:
            self._agent.deregister_memory(known[1])

    def metadata_b64(self) -> str:
        """What a sink needs to read all buffers registered so far (`Shard.nixl_metadata`)."""
        return base64.b64encode(self._agent.get_agent_metadata()).decode()

    def close(self) -> None:
        """Stops serving; reads in progress fail in their sink."""
        # Deregister before the agent is dropped.
        for address in list(self._registered):
            self.unregister(address)
        self._agent = None


@dataclass
class _Read:
    """A read that was started."""

    agent: str
    nbytes: int
    out: torch.Tensor
    handle: Any
    state: str
    """NIXL's: DONE, PROC or ERR."""
    timeout_s: float
    deadline: float


class NixlSink:
    """Reads from sources; used by one thread at a time."""

    def __init__(self, name: str) -> None:
        # `finish` polls by itself, which drives UCX.
        self._agent = _agent(name, progress_thread=False)
        self._registered: dict[int, tuple[torch.Tensor, Any]] = {}
        self._metadata: dict[str, str] = {}
        self._abandoned: list[_Read] = []

    def begin(
        self,
        metadata_b64: str,
        agent_name: str,
        remote_address: int,
        runs: Sequence[Run],
        out: torch.Tensor,
        timeout_s: float,
    ) -> _Read:
        """Starts copying `runs` of the buffer at `remote_address` of the agent's process to `out`.

        Several reads, of different sources into different buffers, may be under way; `finish` each.
        `out` (uint8, 1-D) stays registered, and alive, for later reads.

        Raises:
            NixlReadError: the source is gone; `out` is undefined.
        """
        _require_flat_bytes(out)
        needed = max((run.local + run.nbytes for run in runs), default=0)
        if out.numel() < needed:
            raise ValueError(f"The buffer has {out.numel()} bytes, but the read needs {needed}.")
        nbytes = sum(run.nbytes for run in runs)
        with self._connected(agent_name, nbytes):
            self._require_answering(agent_name)
            self._connect(metadata_b64, agent_name)
            self._register(out)
            # One request for all runs: NIXL takes some microseconds for each of them.
            local = self._descriptors((out.data_ptr() + run.local, run.nbytes) for run in runs)
            remote = self._descriptors((remote_address + run.remote, run.nbytes) for run in runs)
            handle = self._agent.initialize_xfer("READ", local, remote, agent_name)
            state = self._agent.transfer(handle)
        deadline = time.monotonic() + timeout_s
        return _Read(agent_name, nbytes, out, handle, state, timeout_s, deadline)

    def _descriptors(self, pieces: Iterable[tuple[int, int]]) -> Any:
        """NIXL's descriptors of (address, bytes) in host memory."""
        return self._agent.get_xfer_descs([(at, size, 0) for at, size in pieces], "DRAM")

    def finish(self, read: _Read) -> None:
        """Waits for a read's end.

        Raises:
            NixlReadTimeoutError: it took longer than its time-out. NIXL may still write to the
                buffer, now or later: `abandoned` says so, and the caller takes another one.
            NixlReadError: the source is gone; the buffer is undefined.
        """
        try:
            with self._connected(read.agent, read.nbytes):
                self._wait(read)
        finally:
            if read.state == "PROC":
                # NIXL can't promise to cancel a read (nixl 1.5.1: release() raises and keeps it).
                # It would overwrite what another transport brings into the same memory meanwhile.
                self._abandoned.append(read)
            else:
                self._release(read.handle)

    def _wait(self, read: _Read) -> None:
        while read.state == "PROC":
            if time.monotonic() > read.deadline:
                raise NixlReadTimeoutError(
                    f"NIXL agent {read.agent} did not deliver {read.nbytes} bytes "
                    f"in {read.timeout_s} s."
                )
            time.sleep(POLL_SECONDS)
            read.state = self._agent.check_xfer_state(read.handle)
        if read.state != "DONE":
            raise NixlReadError(f"NIXL agent {read.agent} ended the read in state {read.state}.")

    def abandoned(self, out: torch.Tensor) -> bool:
        """True while a read that timed out may still write to the buffer."""
        self._reap()
        return any(read.out.data_ptr() == out.data_ptr() for read in self._abandoned)

    def _require_answering(self, agent_name: str) -> None:
        self._reap()
        if any(read.agent == agent_name for read in self._abandoned):
            # At once, so that another transport is tried: each wait would cost one more buffer.
            raise NixlReadTimeoutError(f"NIXL agent {agent_name} still owes an earlier read.")

    def _reap(self) -> None:
        """Lets go of abandoned buffers whose reads have ended after all."""
        self._abandoned = [read for read in self._abandoned if self._still_runs(read)]

    def _still_runs(self, read: _Read) -> bool:
        try:
            read.state = self._agent.check_xfer_state(read.handle)
        except Exception as error:  # as its source has gone, and the read with it
            log.info("An abandoned read from %s has ended: %r", read.agent, error)
            read.state = "ERR"
        if read.state == "PROC":
            return True
        self._release(read.handle)
        return False

    @contextlib.contextmanager
    def _connected(self, agent_name: str, nbytes: int) -> Iterator[None]:
        """An error drops the connection: the agent may have been restarted under its address."""
        try:
            yield
        except NixlReadTimeoutError:
            # Kept: without its connection nobody could tell when the abandoned read has ended.
            raise
        except NixlReadError:
            self.forget(agent_name)
            raise
        except Exception as error:
            self.forget(agent_name)
            raise NixlReadError(
                f"Reading {nbytes} bytes from NIXL agent {agent_name} failed: {error!r}."
            ) from error

    def _connect(self, metadata_b64: str, agent_name: str) -> None:
        if self._metadata.get(agent_name) == metadata_b64:
            return
        self.forget(agent_name)
        name = self._agent.add_remote_agent(base64.b64decode(metadata_b64))
        found = name.decode() if isinstance(name, bytes) else str(name)
        if found != agent_name:
            raise NixlReadError(f"The metadata belongs to agent {found}, expected {agent_name}.")
        self._metadata[agent_name] = metadata_b64

    def _register(self, out: torch.Tensor) -> None:
        known = self._registered.get(out.data_ptr())
        if known is None or known[0].numel() != out.numel():
            self.release(out)
            self._registered[out.data_ptr()] = (out, self._agent.register_memory(out))

    def _release(self, handle: Any) -> None:
        try:
            handle.release()
        except Exception as error:  # NIXL itself keeps a read that can't be canceled
            log.warning("NIXL kept a canceled read: %r", error)

    def forget(self, agent_name: str) -> None:
        """Drops the connection to a source; unknown names are ignored."""
        if self._metadata.pop(agent_name, None) is not None:
            try:
                self._agent.remove_remote_agent(agent_name)
            except Exception as error:  # it had disconnected already
                log.info("NIXL agent %s was gone: %r", agent_name, error)

    def retain(self, agent_names: Collection[str]) -> None:
        """Drops the connections to all other sources (trainers of older attempts).

        Those that still owe a read are kept until it ends.
        """
        self._reap()
        kept = {*agent_names, *(read.agent for read in self._abandoned)}
        for name in [name for name in self._metadata if name not in kept]:
            self.forget(name)

    def release(self, out: torch.Tensor) -> None:
        """Deregisters a buffer, so that its memory can be freed; not while it is `abandoned`."""
        known = self._registered.pop(out.data_ptr(), None)
        if known is not None:
            self._agent.deregister_memory(known[1])

    def close(self) -> None:
        """Drops all connections and buffers."""
        for name in list(self._metadata):
            self.forget(name)
        for tensor, _ in list(self._registered.values()):
            self.release(tensor)
        self._agent = None
