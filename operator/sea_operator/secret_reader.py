"""Secrets that the operator has read: it may get them by name, and never list or watch them.

A Secret is read once and then trusted for `MAX_AGE_SECONDS`. How a change is noticed:

- One that doesn't exist, isn't the job's or lacks a key is never trusted: each pass reads it again,
  and a job that waits for it has a pass every few seconds. A corrected Secret is noticed then.
- The coordinator answers 401: its pod was started with another token than the one known here.
- The coordinator reports a problem: its Secrets are read again every few seconds.
- The spec changed: it may name other Secrets, or the user edited those as well.
- A Secret that was deleted or rotated behind a job that runs well is noticed once it is too old.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from sea_api.contract import auth_secret
from sea_operator.errors import NotFoundError
from sea_operator.kube.client import SECRET, KubeClient
from sea_operator.observed import Job, Object, SecretSeen, is_leaving, is_ours
from sea_operator.resources.build import token_of

MAX_AGE_SECONDS = 120.0
DOUBT_SECONDS = 5.0
"""How long a Secret of a job with a problem is trusted."""

Name = tuple[str, str]
"""Namespace and name of a Secret."""


@dataclass(frozen=True)
class TokenSecret:
    """The Secret with the name of a job's auth Secret."""

    ours: bool
    """Whether this very job owns it."""
    leaving: bool
    """Whether it is being deleted, or belongs to an earlier job of this name and soon will be."""
    token: str | None


@dataclass(frozen=True)
class _Known:
    read_at: float
    value: TokenSecret | SecretSeen


class SecretReader:
    """Secrets by name; `monotonic` in seconds."""

    def __init__(self, client: KubeClient, monotonic: Callable[[], float]) -> None:
        self._client = client
        self._monotonic = monotonic
        self._known: dict[Name, _Known] = {}
        self._specs: dict[Name, tuple[str, int]] = {}
        self._taken: set[Name] = set()
        """Tokens' Secrets that exist although their job is new."""

    async def token(self, job: Job) -> TokenSecret | None:
        """The job's token; None if there is no such Secret. Raises `KubeError`.

        Not read for a job that has no status yet: its Secret is about to be created, and the API
        server refuses that if it exists after all (`taken`).
        """
        name = (job.namespace, auth_secret(job.name))
        if isinstance(known := self._trusted(name), TokenSecret):
            return known
        if job.is_new and name not in self._taken:
            return None
        asked = self._monotonic()
        live = await self._get(name)
        return None if live is None else self._keep_token(job, name, live, asked)

    def last_token(self, job: Job) -> TokenSecret | None:
        """The token as last read, however old: better than none while it can't be read."""
        known = self._known.get((job.namespace, auth_secret(job.name)))
        return known.value if known and isinstance(known.value, TokenSecret) else None

    async def look(self, namespace: str, name: str, needed: frozenset[str]) -> SecretSeen | None:
        """What may be kept of a Secret; None if it doesn't exist. Raises `KubeError`."""
        if (known := self.known(namespace, name, needed)) is not None:
            return known
        # Taken before the request: the answer may be as old as the question.
        asked = self._monotonic()
        live = await self._get((namespace, name))
        if live is None:
            return None
        seen = seen_of(live.get("data", {}))
        self._known[namespace, name] = _Known(asked, seen)
        return seen

    def known(self, namespace: str, name: str, needed: frozenset[str]) -> SecretSeen | None:
        """What `look` returns without a request; None where it needs one."""
        known = self._trusted((namespace, name))
        good = isinstance(known, SecretSeen) and known.keys >= needed and not known.flaws
        return known if good and isinstance(known, SecretSeen) else None

    def doubt(self, namespace: str, names: Iterable[str]) -> None:
        """The job reports a problem: one of its Secrets may be wrong, and be corrected any time."""
        for name in names:
            known = self._known.get((namespace, name))
            if known is not None and self._monotonic() - known.read_at >= DOUBT_SECONDS:
                del self._known[namespace, name]

    def taken(self, job: Job) -> bool:
        """The token's Secret exists: a pass before this one, or somebody else, has made it.

        False if that was known, so that reading it again brings no token at once.
        """
        name = (job.namespace, auth_secret(job.name))
        known = name in self._taken
        self._taken.add(name)
        return not known

    def wrote_token(self, job: Job, live: Object) -> None:
        """The token's Secret as the API server answered when we made it."""
        self._keep_token(job, (job.namespace, auth_secret(job.name)), live, self._monotonic())

    def note_spec(self, job: Job, names: frozenset[str]) -> None:
        """Forgets what the spec names and the token, if the spec isn't the one of the last call."""
        key, spec = (job.namespace, job.name), (job.uid, job.generation)
        known = self._specs.get(key)
        self._specs[key] = spec
        # None is the first sight of the job, by a new leader for example: nothing is outdated yet.
        if known not in (None, spec):
            for name in (*names, auth_secret(job.name)):
                self._known.pop((job.namespace, name), None)

    def refused(self, job: Job) -> None:
        """The coordinator doesn't take our token."""
        self._known.pop((job.namespace, auth_secret(job.name)), None)

    def gone(self, namespace: str, job: str) -> None:
        """There is no such job any more."""
        self._specs.pop((namespace, job), None)
        self._known.pop((namespace, auth_secret(job)), None)
        self._taken.discard((namespace, auth_secret(job)))
        # The job's other Secrets may serve further jobs: they leave once they are too old.
        for name in [name for name in self._known if self._trusted(name) is None]:
            del self._known[name]

    def _trusted(self, name: Name) -> TokenSecret | SecretSeen | None:
        known = self._known.get(name)
        if known is None or self._monotonic() - known.read_at >= MAX_AGE_SECONDS:
            return None
        return known.value

    async def _get(self, name: Name) -> Object | None:
        """A fresh read; while it fails, what is known stays, to be read again by the next pass."""
        try:
            found = await self._client.get(SECRET, *name)
        except NotFoundError:
            found = None
        self._known.pop(name, None)
        return found

    def _keep_token(self, job: Job, name: Name, live: Object, asked: float) -> TokenSecret:
        ours = is_ours(live, job)
        # A stranger's token is nothing to remember.
        token = _usable(token_of(live)) if ours else None
        found = TokenSecret(ours, is_leaving(live, job), token)
        # Only what is good is kept; everything else is read again by the next pass.
        if token is not None and not found.leaving:
            self._known[name] = _Known(asked, found)
        return found


def _usable(token: str | None) -> str | None:
    """None for a token that no HTTP header can carry, such as one with a line's end."""
    return token if token and token.isascii() and token.isprintable() else None


def seen_of(data: Mapping[str, str]) -> SecretSeen:
    """What may be kept of a Secret's data: no value."""
    # `sort_keys`: the API server may list the same data in another order.
    digest = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:12]
    flaws = {key: flaw for key, value in data.items() if (flaw := _flaw(base64.b64decode(value)))}
    return SecretSeen(frozenset(data), digest, flaws)


def _flaw(value: bytes) -> str | None:
    """Why a value can't be a key in an HTTP header."""
    if not value.strip():
        return "is empty"
    if value.endswith((b"\n", b"\r")):
        return "ends with a line break, as `echo` adds it (`printf %s` doesn't)"
    if any(byte <= 0x20 or byte >= 0x7F for byte in value):
        return "holds whitespace or a character that no HTTP header can carry"
    return None
