"""Tool calls that an endpoint leaves in the text, in the markup of some family of models.

A server without the parser of its model's calls answers them as text: said to the other side they
would be a turn of the dialogue, and the score that of a set-up. Asked by the evaluation's agent and
by an external user. Qwen's own markup is read by
`sea_env.tokens.reader`; of the others only the beginning is known here, enough to tell the agent.
"""

import json

_BEGINS = (
    "<|python_tag|>",  # Llama 3
    "<|channel|>",  # gpt-oss
    "[TOOL_CALLS]",  # Mistral
    "[TOOL_REQUEST]",  # LM Studio's own
    "<\uff5ctool\u2581calls\u2581begin\uff5c>",  # DeepSeek
    "<\uff5ctool\u2581call\u2581begin\uff5c>",
    "<\uff5cDSML\uff5c",  # DeepSeek 3.2
    "<|tool_calls_section_begin|>",  # Kimi K2
    "<|tool_call_begin|>",
    "<|tool_call_start|>",  # LFM2
    "<minimax:tool_call>",
    "<seed:tool_call>",
    "<longcat_tool_call>",
    "<TOOLCALL>",  # Nemotron
    "<function=",  # Qwen3-Coder, and Llama 3's own functions
    "<function_calls>",
    "<start_function_call>",  # Gemma
    "```tool_code",
    "<|action_start|>",  # InternLM
    "<|START_ACTION|>",  # Command
)
"""What no customer is ever told: markup that begins a call, or a channel that holds one."""
_ARGUMENTS = ("arguments", "parameters")


def sentence(text: str) -> str:
    """What is wrong with a turn whose text holds a call; empty if it holds none."""
    found = next((one for one in _BEGINS if one in text), "")
    if not found and _is_call(text):
        found = "a JSON object of a call"
    if not found:
        return ""
    return (
        f"The turn has {found} in its text: the server doesn't read this model's tool calls (vLLM: "
        "--enable-auto-tool-choice and --tool-call-parser)."
    )


def _is_call(text: str) -> bool:
    """Whether the text is only `{"name": ..., "parameters": {...}}`, as Llama 3 writes calls."""
    if not text.lstrip().startswith("{"):
        return False
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    named = isinstance(value, dict) and isinstance(value.get("name"), str)
    return named and any(isinstance(value.get(name), dict) for name in _ARGUMENTS)
