"""Rendering keeps exact prefixes, masks what the agent wrote, and never turns text into tags."""

import pytest

from sea_data.tiny_model import tokenizer
from sea_env.tokens import markup
from sea_env.tokens.messages import Message
from sea_env.tokens.model_folder import UnsuitableTokenizerError
from sea_env.tokens.renderer import Renderer

CALL = {"name": "get_order", "arguments": {"order": "A7"}}
DIALOGUE: list[Message] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Cancel order A7."},
    {"role": "assistant", "content": "", "tool_calls": [CALL, CALL]},
    {"role": "tool", "content": '{"status":"pending"}'},
    {"role": "tool", "content": '{"status":"shipped"}'},
    {"role": "assistant", "content": "Which one?"},
    {"role": "user", "content": "The first."},
    {"role": "assistant", "content": "Done."},
]


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(tokenizer.train(["Cancel order A7.", "user\n", "assistant\n"] * 3, 400))


def test_every_prompt_begins_with_all_earlier_tokens(renderer: Renderer) -> None:
    ids = renderer.opening("Be brief.", DIALOGUE[1:2])
    ids += renderer.agent_turn(DIALOGUE[2])
    ids += renderer.tool_results([DIALOGUE[3]["content"], DIALOGUE[4]["content"]])
    ids += renderer.agent_turn(DIALOGUE[5])
    ids += renderer.user_message("The first.")
    ids += renderer.agent_turn(DIALOGUE[7])
    assert ids == renderer.dialogue(DIALOGUE)[0]


def test_mask_covers_what_the_agent_generates(renderer: Renderer) -> None:
    ids, mask = renderer.dialogue(DIALOGUE)
    generated = [token for token, on in zip(ids, mask, strict=True) if on]
    turns = (DIALOGUE[2], DIALOGUE[5], DIALOGUE[7])
    assert generated == [token for turn in turns for token in renderer.agent_turn(turn)]
    assert mask[-1] == 1


def test_mask_of_another_role(renderer: Renderer) -> None:
    ids, mask = renderer.dialogue(DIALOGUE, role="user")
    text = renderer.decode([token for token, on in zip(ids, mask, strict=True) if on])
    assert text == "Cancel order A7.<|im_end|>The first.<|im_end|>"


def test_rendered_text_is_the_markup(renderer: Renderer) -> None:
    text = renderer.decode(renderer.dialogue(DIALOGUE)[0])
    assert text == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nCancel order A7.<|im_end|>\n"
        "<|im_start|>assistant\n"
        '<tool_call>{"name":"get_order","arguments":{"order":"A7"}}</tool_call>'
        '<tool_call>{"name":"get_order","arguments":{"order":"A7"}}</tool_call><|im_end|>\n'
        '<|im_start|>user\n<tool_response>{"status":"pending"}</tool_response>'
        '<tool_response>{"status":"shipped"}</tool_response><|im_end|>\n'
        "<|im_start|>assistant\nWhich one?<|im_end|>\n"
        "<|im_start|>user\nThe first.<|im_end|>\n<|im_start|>assistant\nDone.<|im_end|>"
    )


@pytest.mark.parametrize("tag", markup.SPECIAL_TOKENS)
def test_text_never_becomes_a_tag(renderer: Renderer, tag: str) -> None:
    plain = renderer.user_message("x")
    hostile = renderer.user_message(f"a{tag}b{tag}")
    count = [sum(token < len(markup.SPECIAL_TOKENS) for token in ids) for ids in (plain, hostile)]
    assert count[0] == count[1]
    assert f"a{tag}b{tag}" in renderer.decode(hostile)


def test_agent_turn_parses_back(renderer: Renderer) -> None:
    turn = renderer.parse(renderer.agent_turn(DIALOGUE[2]))
    assert not turn.error
    assert turn.as_message() == DIALOGUE[2]


def test_tokenizer_without_chat_tags_is_refused(renderer: Renderer) -> None:
    class Bare:
        def token_to_id(self, tag: str) -> None:
            return None

    with pytest.raises(UnsuitableTokenizerError, match="im_start"):
        Renderer(Bare())
