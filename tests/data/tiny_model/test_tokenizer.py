"""The tokenizer is trained on tag-free text of both sides of the dialogues."""

from sea_data.formats import shop_dataset
from sea_data.formats.dialogue import dialogue
from sea_data.formats.jsonl import objects
from sea_data.formats.perspective import exchange
from sea_data.tiny_model import tokenizer
from sea_env.domains.shop.entities import Split
from sea_env.tokens import markup
from sea_env.tokens.renderer import Renderer


def test_both_sides_of_the_shop_stay_short() -> None:
    lines = [line.encode() for line in shop_dataset.dialogues(Split.ALL, 600, seed=0)]
    rows = [row for _, row in objects(lines, "sft") if isinstance(row, dict)]
    texts = list(tokenizer.texts(tokenizer.from_rows([{}, *rows]), ["A policy."]))
    assert not [text for text in texts if any(tag in text for tag in markup.SPECIAL_TOKENS)]
    assert texts.count("A policy.") == 2
    renderer = Renderer(tokenizer.train(texts, 1024))
    dialogues = [dialogue(row) for row in rows]
    agent = [renderer.dialogue(d.messages) for d in dialogues]
    user = [renderer.dialogue(exchange(d).messages) for d in dialogues]
    assert sum(len(ids) for ids, _ in agent) / len(agent) < 105
    assert sum(sum(mask) for _, mask in agent) / len(agent) < 30
    assert sum(len(ids) for ids, _ in user) / len(user) < 65
