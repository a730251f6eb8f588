"""One renderer for all Qwen families: exact prefixes where the stock template breaks them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from sea_env.tokens import chat_template, tool_prompt
from sea_env.tokens.model_folder import UnsuitableTokenizerError
from sea_env.tokens.renderer import Renderer
from sea_env.tokens.style import CallFormat, Style, Thinking, XmlValues

FAMILIES = (
    *("qwen25", "hybrid", "instruct", "thinking", "xml", "coder"),
    *("qwen35", "qwen36", "qwen38", "nothink"),
)
LATEST = Style(CallFormat.QWEN3_XML, Thinking.PROMPTED, before_call="\n\n", trims=True)
Dialogue = list[dict[str, Any]]
MakeFolder = Callable[..., Path]


@pytest.mark.parametrize(
    ("family", "style"),
    [
        ("qwen25", Style(CallFormat.QWEN25, Thinking.NONE)),
        ("hybrid", Style(CallFormat.HERMES, Thinking.OWN)),
        ("instruct", Style(CallFormat.HERMES, Thinking.NONE)),
        ("thinking", Style(CallFormat.HERMES, Thinking.PROMPTED)),
        ("xml", Style(CallFormat.QWEN3_XML, Thinking.NONE)),
        (
            "coder",
            Style(
                CallFormat.QWEN3_XML,
                Thinking.NONE,
                before_call="\n\n",
                after_results="\n",
                values=XmlValues.OBJECTS,
            ),
        ),
        ("qwen35", replace(LATEST, values=XmlValues.CONTAINERS)),
        ("qwen36", LATEST),
        ("qwen38", LATEST),
        ("nothink", replace(LATEST, values=XmlValues.CONTAINERS, thinking=Thinking.EMPTY)),
        ("plain", Style()),
    ],
)
def test_the_style_is_read_off_the_template(
    model_folder: MakeFolder, family: str, style: Style
) -> None:
    assert Renderer.load(model_folder(family)).style == style


def test_qwen25_by_its_config_and_any_form_by_the_jobs_field(model_folder: MakeFolder) -> None:
    assert Renderer.load(model_folder("instruct", None, "qwen2")).style.calls is CallFormat.QWEN25
    forced = Renderer.load(model_folder("instruct"), CallFormat.QWEN3_XML)
    assert forced.style.calls is CallFormat.QWEN3_XML


def test_a_template_in_a_file_of_its_own(model_folder: MakeFolder) -> None:
    folder = model_folder("instruct")
    coder = chat_template.load(model_folder("coder"))
    assert coder is not None
    source = chat_template.read_json(model_folder("coder") / "tokenizer_config.json")
    (folder / "chat_template.jinja").write_text(source["chat_template"])
    assert Renderer.load(folder).style.calls is CallFormat.QWEN3_XML


@pytest.mark.parametrize("source", ["{% if %}", "{{ raise_exception('no') }}", "{{ 1 / 0 }}"])
def test_a_broken_template_is_a_sentence(model_folder: MakeFolder, source: str) -> None:
    with pytest.raises(UnsuitableTokenizerError, match=r"chat template .* comes with the model"):
        Renderer.load(model_folder("hybrid", source))


def test_without_a_template_the_tokens_decide(model_folder: MakeFolder) -> None:
    folder = model_folder("hybrid")
    (folder / "tokenizer_config.json").unlink()
    assert Renderer.load(folder).style == Style(CallFormat.HERMES, Thinking.OWN)


def prompts(renderer: Renderer, messages: Dialogue, tools: Any) -> list[tuple[list[int], int]]:
    """(prompt, index of the answer) of every agent turn, as an episode grows them."""
    ids = renderer.opening("Be kind.", messages[:1], tools)
    found = []
    for index, message in enumerate(messages):
        if message["role"] == "assistant":
            found.append((list(ids), index))
            ids += renderer.agent_turn(message)
            ids += appended(renderer, messages[index + 1 :])
    return found


def appended(renderer: Renderer, following: Dialogue) -> list[int]:
    if not following:
        return []
    if following[0]["role"] == "user":
        return renderer.user_message(following[0]["content"])
    results = []
    for message in following:
        if message["role"] != "tool":
            break
        results.append(message["content"])
    return renderer.tool_results(results)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_prompt_begins_with_the_exact_tokens_of_the_one_before(
    model_folder: MakeFolder, dialogues: Sequence[Dialogue], tools: Any, family: str
) -> None:
    renderer = Renderer.load(model_folder(family))
    for messages in dialogues[:30]:
        grown = prompts(renderer, messages, tools)
        whole = [{"role": "system", "content": tool_prompt.write("Be kind.", tools)}, *messages]
        trained = renderer.dialogue(whole)[0]
        for (prompt, index), (following, _) in pairwise(grown):
            assert following[: len(prompt)] == prompt
            answer = renderer.agent_turn(messages[index])
            assert following[len(prompt) : len(prompt) + len(answer)] == answer
            assert trained[: len(following)] == following


def test_the_stock_template_breaks_the_prefix_of_thinking_models(
    model_folder: MakeFolder,
    dialogues: Sequence[Dialogue],
    openai: Callable[[Dialogue], Dialogue],
) -> None:
    template = chat_template.load(model_folder("hybrid"))
    assert template is not None
    broken = 0
    for messages in map(openai, dialogues):
        cuts = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
        texts = [template.render(messages[:cut], prompt=True) for cut in cuts]
        broken += any(
            not after.startswith(before + "<think>\n" + messages[cut]["reasoning_content"])
            for (before, after), cut in zip(pairwise(texts), cuts, strict=False)
        )
    assert broken == 100


@pytest.mark.parametrize("family", [one for one in FAMILIES if one != "nothink"])
def test_the_first_exchange_reads_as_the_familys_own_template_writes_it(
    model_folder: MakeFolder,
    dialogues: Sequence[Dialogue],
    openai: Callable[[Dialogue], Dialogue],
    tools: Any,
    family: str,
) -> None:
    """Before a second question nothing is stripped, so text and tokens must agree."""
    folder = model_folder(family)
    renderer, template = Renderer.load(folder), chat_template.load(folder)
    assert template is not None
    for messages in dialogues[:30]:
        second = [i for i, m in enumerate(messages) if m["role"] == "user"][1]
        system = {"role": "system", "content": "Be kind."}
        stock = template.render([system, *openai(messages[:second])], tools)
        written = {**system, "content": tool_prompt.write("Be kind.", tools)}
        ids = renderer.dialogue([written, *messages[:second]])[0]
        assert renderer.decode(ids) + "\n" == stock
        ours = [renderer.decode([token]) for token in ids]
        theirs = renderer._tokenizer.encode(stock.removesuffix("\n"), add_special_tokens=False)
        if (
            renderer.style.thinking is not Thinking.PROMPTED
        ):  # its prompt ends after "<think>\n", a token boundary of its own
            assert ours == [renderer.decode([token]) for token in theirs.ids]


def agent(content: str = "", calls: Sequence[Any] = (), thinking: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {"role": "assistant", "content": content}
    found |= {"thinking": thinking} if thinking else {}
    made = [{"name": "get_order", "arguments": arguments} for arguments in calls]
    return found | ({"tool_calls": made} if made else {})


USER, RESULT = {"role": "user", "content": "Hi"}, {"role": "tool", "content": '{"a": 1}'}
LAST = agent("Done.", thinking="ok")
ALL_TYPES = {
    "order_id": 'é“\n"q" \\ ü',
    "deep": True,
    "count": 3,
    "items": ["a", "b 'é'"],
    "note": None,
    "nested": {"k": [1, {"z": False, "n": None}], "f": 1.5},
}
KINDS: dict[str, Dialogue] = {
    "text": [USER, LAST],
    "a call": [USER, agent("", [{"order_id": "#W1"}], "Look."), RESULT, LAST],
    "text and a call": [USER, agent("I look.", [{"order_id": "1"}], "Look."), RESULT, LAST],
    "several calls": [
        USER,
        agent("I look.", [{"order_id": "1"}, {}, {"order_id": "2", "count": 3}], "Look."),
        RESULT,
        {"role": "tool", "content": ""},
        RESULT,
        agent("", [{"order_id": "4"}], "And."),
        {"role": "tool", "content": "x\ny"},
        LAST,
    ],
    "no arguments": [USER, agent("", [{}], "Look."), RESULT, LAST],
    "all types": [USER, agent("", [ALL_TYPES], "Look."), RESULT, LAST],
    "white space": [{"role": "user", "content": "  Hi \n"}, agent("Done. ", thinking="ok")],
}


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_dialogue_reads_token_by_token_as_the_familys_own_template_writes_it(
    model_folder: MakeFolder,
    openai: Callable[[Dialogue], Dialogue],
    tools: Any,
    family: str,
    kind: str,
    listed: bool,
) -> None:
    """Where no thought is stripped, which prefixes must not be."""
    folder = model_folder(family)
    renderer, template = Renderer.load(folder), chat_template.load(folder)
    assert template is not None
    given = tools if listed else []
    messages = KINDS[kind]
    if renderer.style.thinking is Thinking.EMPTY:  # its prompt has written an empty one
        messages = [{k: v for k, v in m.items() if k != "thinking"} for m in messages]
    system = {"role": "system", "content": "Be kind."}
    stock = template.render([system, *openai(messages)], given).removesuffix("\n")
    written = {**system, "content": tool_prompt.write("Be kind.", given)}
    ids = renderer.dialogue([written, *messages])[0]
    assert renderer.decode(ids) == stock
    assert ids == renderer._tokenizer.encode(stock, add_special_tokens=False).ids


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prompt_ends_as_the_familys_own_template_ends_it(
    model_folder: MakeFolder, family: str
) -> None:
    folder = model_folder(family)
    renderer, template = Renderer.load(folder), chat_template.load(folder)
    assert template is not None
    system = {"role": "system", "content": "Be kind."}
    prompt = renderer.decode(renderer.opening("Be kind.", [USER]))
    assert prompt == template.render([system, USER], prompt=True)


def test_a_dialogue_without_a_system_prompt_gets_the_templates_own(
    model_folder: MakeFolder, templates: dict[str, str]
) -> None:
    """Qwen2.5's template writes one; the indices of trained messages stay those of the row."""
    own = (
        "{%- if messages[0].role != 'system' %}"
        "{{ '<|im_start|>system\\nYou are Q.<|im_end|>\\n' }}{% endif -%}"
    )
    renderer = Renderer.load(model_folder("instruct", own + templates["instruct"]))
    ids, mask = renderer.dialogue([USER, agent("A."), USER, agent("B.")], trained={3})
    text = renderer.decode(ids)
    assert text.startswith("<|im_start|>system\nYou are Q.<|im_end|>\n<|im_start|>user\nHi")
    trained = renderer.decode([i for i, on in zip(ids, mask, strict=True) if on])
    assert trained == "B.<|im_end|>"


def test_a_template_that_writes_no_tools_leaves_the_list_in_the_prompt(
    model_folder: MakeFolder, tools: Any
) -> None:
    renderer = Renderer.load(model_folder("plain"))
    assert "get_order" in renderer.decode(renderer.opening("Be kind.", [USER], tools))


@pytest.mark.parametrize("family", FAMILIES)
def test_generation_tags_change_nothing(
    model_folder: MakeFolder, templates: dict[str, str], family: str
) -> None:
    """TRL's training templates mark with them what the assistant writes."""
    tags = ("{% generation %}", "{% endgeneration %}")
    source = templates[family]
    for tag in tags:
        source = source.replace(tag, "")
    content = "{{- m.content or '' }}"
    tagged = source.replace(content, f"{tags[0]}{content}{tags[1]}")
    without, with_tags = (Renderer.load(model_folder(family, one)) for one in (source, tagged))
    assert without.style == with_tags.style
    assert without.dialogue(KINDS["several calls"]) == with_tags.dialogue(KINDS["several calls"])


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_written_reads_back(
    model_folder: MakeFolder, dialogues: Sequence[Dialogue], tools: Any, family: str
) -> None:
    renderer = Renderer.load(model_folder(family))
    arguments = {"order_id": "7", "count": 3, "deep": True, "items": ["a", "it's"], "note": None}
    call = {"name": "get_order", "arguments": arguments}
    turn = renderer.parse(
        renderer.agent_turn({"role": "assistant", "content": "Hm.", "tool_calls": [call]}),
        tool_prompt.parameters(tools),
    )
    assert (turn.error, turn.as_message()["tool_calls"]) == ("", [call])
    for message in dialogues[0] + dialogues[1]:
        if message["role"] == "assistant":
            read = renderer.parse(renderer.agent_turn(message)).as_message()
            expected = dict(message)
            if renderer.style.thinking in (Thinking.NONE, Thinking.EMPTY):
                expected.pop("thinking")
            assert read == expected


@pytest.mark.parametrize("family", FAMILIES)
def test_only_answers_are_trained_thinking_and_end_included(
    model_folder: MakeFolder, dialogues: Sequence[Dialogue], family: str
) -> None:
    renderer = Renderer.load(model_folder(family))
    messages = dialogues[0]
    last = len(messages) - 1
    ids, mask = renderer.dialogue(messages, trained={last})
    answer = renderer.agent_turn(messages[last])
    assert sum(mask) == len(answer)
    assert ids[-len(answer) :] == answer
    assert set(mask[-len(answer) :]) == {1}


@pytest.mark.parametrize("text", ["<|vision_start|>", "<think>", "</tool_call>", "<|im_end|>"])
def test_text_never_becomes_a_token_of_the_family(model_folder: MakeFolder, text: str) -> None:
    renderer = Renderer.load(model_folder("hybrid"))
    plain, hostile = renderer.user_message("a"), renderer.user_message(f"a{text}a")
    added = set(renderer._tokenizer.get_added_tokens_decoder())
    assert sum(i in added for i in plain) == sum(i in added for i in hostile)
    assert text in renderer.decode(hostile)


def test_tools_are_found_in_a_prompt_again(tools: Any) -> None:
    assert tool_prompt.split(tool_prompt.write("P", tools)) == ("P", tools)
    assert tool_prompt.split("P") == ("P", [])
    broken = tool_prompt.write("P", tools).replace('"type"', "type")
    assert tool_prompt.split(broken) == (broken, [])
