"""One episode at token level: the rollout worker drives it, and it becomes a Trajectory.

    effect = episode.start()
    NeedUser(heard)            -> ask the user, then episode.on_user(text)
    NeedGeneration(prompt, n)  -> generate at most n tokens, then episode.on_agent(ids, ...)
    Done(stop)                 -> verify, pack `episode.tokens, mask, logprobs, versions`

The prompt is always the exact tokens so far; nothing is decoded and encoded again. With a renderer
that strips thoughts, the user's next text begins another sample instead: its prompt is the dialogue
as the model's own template shows it, without the thoughts before.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sea_env.episodes.conversation import (
    AgentNext,
    Conversation,
    Next,
    Over,
    UserNext,
    agent_view,
)
from sea_env.episodes.limits import Limits, Stop
from sea_env.tokens.messages import Message
from sea_env.tokens.renderer import Renderer
from sea_env.users.base import Reply


@dataclass(frozen=True)
class NeedUser:
    """Ask the user. `heard`: the spoken turns so far, empty at the beginning."""

    heard: Sequence[Message]


@dataclass(frozen=True)
class NeedGeneration:
    """Generate at most `max_tokens` after `prompt`, stopping at `<|im_end|>` (kept in the ids).

    `prompt` may be the episode's own list: read it, don't keep or change it.
    """

    prompt: list[int]
    max_tokens: int
    recorded: int = 0
    """Tokens at the prompt's beginning whose experts the episode has already."""


@dataclass(frozen=True)
class Done:
    """The episode is over."""

    stop: Stop


Effect = NeedUser | NeedGeneration | Done


class Episode:
    """Tokens, mask, log-probabilities and versions of one episode, all of the same length T: its
    samples end to end."""

    def __init__(
        self, conversation: Conversation, renderer: Renderer, system_prompt: str, limits: Limits
    ) -> None:
        self.conversation = conversation
        self.tokens: list[int] = []
        self.mask: list[int] = []
        self.logprobs: list[float] = []
        self.versions: list[int] = []
        self.starts: list[int] = []
        """Where the second and later samples begin; none unless thoughts are stripped."""
        self._experts: list[bytes] = []
        """Which experts computed each token, opaque here; empty if `on_agent` gets none."""
        self.generated = 0
        self._room_was_short = False
        self._renderer = renderer
        self._system_prompt = system_prompt
        self._limits = limits

    @property
    def turns(self) -> int:
        """Agent turns so far."""
        return self.conversation.turns

    @property
    def transcript(self) -> list[dict[str, Any]]:
        """The dialogue's messages, without the system prompt."""
        return self.conversation.messages

    def start(self) -> Effect:
        return self._effect(self.conversation.start())

    def on_user(self, reply: Reply) -> Effect:
        """The user's reply to NeedUser; after calls of its own the user is needed again."""
        return self._effect(self.conversation.user(reply))

    def on_agent(
        self,
        ids: Sequence[int],
        logprobs: Sequence[float],
        versions: Sequence[int],
        experts: Sequence[bytes] = (),
    ) -> Effect:
        """Adds the requested generation: ids, behavior log-probabilities and weight versions.

        The three have the same length. Whatever follows the first end tag is dropped. `experts`,
        for router replay, has one item per token from `NeedGeneration.recorded` on; the engine has
        not computed the last one yet.
        """
        assert len(ids) == len(logprobs) == len(versions)
        end = self._renderer.end_id
        # An engine that stops late must not put tokens of a next turn into this one.
        count = ids.index(end) + 1 if end in ids else len(ids)
        # Before parsing: what the agent wrote is trained on even if it can't be parsed.
        self._extend(ids[:count], 1, logprobs[:count], versions[:count])
        # Without the last token, and without what followed the end tag.
        self._experts.extend(experts[: len(self.tokens) - 1 - len(self._experts)])
        self.generated += count
        turn = self._renderer.parse(ids[:count], self.conversation.parameters)
        return self._effect(
            self.conversation.agent(replace(turn, context_full=self._room_was_short))
        )

    def _effect(self, following: Next) -> Effect:
        if isinstance(following, Over):
            return Done(following.stop)
        if isinstance(following, UserNext):
            return NeedUser(following.heard)
        begins = self._begins_a_sample(following)
        ids = self._ids(following, begins)
        start = len(self.tokens) if begins else self._sample
        # At least one token of room: the prompt itself would exceed the context otherwise.
        room = self._limits.context_length - (len(self.tokens) - start) - len(ids)
        if room < 1:
            return Done(Stop.CONTEXT_FULL)
        if start > self._sample:
            self._experts = self.experts_of_all()
            self.starts.append(start)
        # Not generated: mask 0, and neither a log-probability nor a version (-1).
        self._extend(ids, 0, [0.0] * len(ids), [-1] * len(ids))
        self._room_was_short = room < self._limits.max_tokens_per_turn
        prompt = self.tokens[start:] if start else self.tokens
        most = min(room, self._limits.max_tokens_per_turn)
        return NeedGeneration(prompt, most, max(len(self._experts) - start, 0))

    def experts_of_all(self) -> list[bytes]:
        """One item per token, or none at all: a sample's last token, which no pass has computed,
        gets that of the token before.
        """
        found = self._experts
        return found + found[-1:] * (len(self.tokens) - len(found))

    @property
    def _sample(self) -> int:
        """Where the sample that grows begins."""
        return self.starts[-1] if self.starts else 0

    def _begins_a_sample(self, following: AgentNext) -> bool:
        # Results of tools belong to the exchange: its thoughts are still shown.
        strips = self._renderer.style.strips_thoughts and not following.results
        return strips or not self.tokens

    def _ids(self, following: AgentNext, begins: bool) -> list[int]:
        if begins:
            said = agent_view(self.conversation.messages)
            return self._renderer.opening(self._system_prompt, said)
        if following.results:
            return self._renderer.tool_results(following.results)
        return self._renderer.user_message(following.user_text)

    def _extend(
        self, ids: Sequence[int], mask: int, logprobs: Sequence[float], versions: Sequence[int]
    ) -> None:
        self.tokens.extend(ids)
        self.mask.extend([mask] * len(ids))
        self.logprobs.extend(logprobs)
        self.versions.extend(versions)
