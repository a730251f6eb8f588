"""What the tiny tokenizer is trained on: a job's dialogues and policies as tag-free texts."""

from collections.abc import Iterable, Iterator, Sequence

from sea_workloads.data.sft import Dialogue, exchange
from sea_workloads.tokens import markup
from sea_workloads.tokens.messages import Message


def texts(dialogues: Iterable[Sequence[Message]], policies: Iterable[str] = ()) -> Iterator[str]:
    """The text segments of every dialogue, then the policies (twice: a merge needs a pair)."""
    for messages in dialogues:
        for segment in markup.dialogue(messages):
            if not segment.tag:
                yield segment.text
    for policy in policies:
        yield policy
        yield policy


def both_sides(dialogues: Iterable[Dialogue]) -> Iterator[Sequence[Message]]:
    """Every dialogue as the agent's model and as the user's model will see it."""
    for dialogue in dialogues:
        yield dialogue.messages
        yield exchange(dialogue).messages
