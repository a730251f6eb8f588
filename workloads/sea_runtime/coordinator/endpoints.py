"""Whether the endpoints that the spec names are where it says, before a pod with GPUs exists.

Only an answer counts: an endpoint that can't be reached from here may well be from rollout pods. A
request without model, messages and key is refused by every server that has the path, with 400, 401
or 422; a server that lacks the path answers 404 or 405.
"""

import asyncio
from collections.abc import Iterator

import aiohttp

from sea_api.v1alpha1.job import Spec
from sea_api.v1alpha1.roles import UserEngine
from sea_runtime.coordinator.errors import PreconditionError

TIMEOUT_SECONDS = 10.0
_NO_SUCH_PATH = frozenset({404, 405})


def named(spec: Spec) -> Iterator[tuple[str, str]]:
    """Field and base URL of each endpoint that the job's episodes and stages ask."""
    if spec.user_model.engine is UserEngine.EXTERNAL and spec.user_model.url:
        yield "spec.userModel.url", spec.user_model.url
    if spec.verifier.judge is not None:
        yield "spec.verifier.judge.url", spec.verifier.judge.url
    for i, stage in enumerate(spec.stages):
        if stage.synthesis is not None and stage.synthesis.endpoint is not None:
            yield f"spec.stages[{i}].synthesis.endpoint.url", stage.synthesis.endpoint.url


async def check(spec: Spec) -> None:
    """Raises PreconditionError for the first endpoint that answers, but not at this path."""
    async with aiohttp.ClientSession() as session:
        endpoints = list(named(spec))
        statuses = await asyncio.gather(*(_status(session, url) for _, url in endpoints))
    for (field, url), status in zip(endpoints, statuses, strict=True):
        if status in _NO_SUCH_PATH:
            raise PreconditionError("EndpointNotFound", _sentence(field, url, status))


async def _status(session: aiohttp.ClientSession, url: str) -> int | None:
    """None if nothing answers."""
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    path = f"{url.rstrip('/')}/chat/completions"
    try:
        async with session.post(path, json={}, timeout=timeout) as answer:
            return answer.status
    except (aiohttp.ClientError, TimeoutError, OSError):
        return None


def _sentence(field: str, url: str, status: int | None) -> str:
    base = url.rstrip("/")
    hint = f"{base}/v1" if not base.endswith("/v1") else base.removesuffix("/v1")
    return (
        f"{field} is {url}, but {base}/chat/completions answers {status}, so there is no"
        f" OpenAI-compatible server below it: correct the address, for example to {hint}."
    )
