"""Program: what vLLM's tool parsers make of turns.

Reads one JSON object from standard input: `turns` (texts by the name of the parser) and `tools`
(OpenAI schemas). The last line of its output is a JSON object: parser -> for each text
[[[name, arguments] of each call], text].
"""

import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

TAGS = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>")


def parses(turns: Mapping[str, Sequence[str]], tools: Any) -> dict[str, list[Any]]:
    from transformers import PreTrainedTokenizerFast
    from vllm.entrypoints.openai.chat_completion.protocol import (
        ChatCompletionRequest,
        ChatCompletionToolsParam,
    )
    from vllm.tool_parsers import ToolParserManager

    # vLLM logs a trace for each text that its parser can't read.
    logging.disable(logging.CRITICAL)
    typed = [ChatCompletionToolsParam.model_validate(tool) for tool in tools]
    asked = ChatCompletionRequest(
        messages=[{"role": "user", "content": "x"}], model="m", tools=tools
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=_tokenizer())
    found: dict[str, list[Any]] = {}
    for name, texts in turns.items():
        parser = ToolParserManager.get_tool_parser(name)
        found[name] = []
        for text in texts:
            read = parser(tokenizer, typed).extract_tool_calls(text, asked)
            calls = [
                [one.function.name, json.loads(one.function.arguments)] for one in read.tool_calls
            ]
            found[name].append([calls, read.content or ""])
    return found


def _tokenizer() -> Any:
    """The parsers ask it for the ids of the tags, no more."""
    from tokenizers import Tokenizer, models

    found = Tokenizer(models.BPE())
    found.add_tokens(list(TAGS))
    return found


def main() -> None:
    given = json.load(sys.stdin)
    sys.stdout.write("\n" + json.dumps(parses(given["turns"], given["tools"])) + "\n")
    sys.stdout.flush()
    os._exit(0)  # vLLM's threads may keep the interpreter from ending


if __name__ == "__main__":
    main()
