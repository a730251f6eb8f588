"""What the errors of real servers mean. Bodies are as the servers write them, numbers changed."""

import json
from typing import Any

import pytest

from sea_env import server_errors
from sea_env.server_errors import Kind

F, L = Kind.CONTEXT_FULL, Kind.ANSWER_TOO_LONG
OPENAI = "This model's maximum context length is {} tokens. However, you requested {} tokens "
CONTEXT: list[tuple[str, int, Any, Kind, int | None]] = [
    # By type, code or parameter.
    ("OpenAI, GPT-5", 400, {"error": {"message": "Your input exceeds the context window of this "
     "model.", "type": "invalid_request_error", "param": "input",
     "code": "context_length_exceeded"}}, F, None),
    ("OpenAI, full with messages alone", 400, {"error": {"message": OPENAI.format(8192, 9100)
     + "(8600 in the messages, 500 in the completion).", "code": "context_length_exceeded"}},
     F, None),
    ("OpenAI, answer too long", 400, {"error": {"message": OPENAI.format(8192, 8992)
     + "(7992 in the messages, 1000 in the completion).", "code": "context_length_exceeded"}},
     L, 200),
    ("OpenAI with functions", 400, {"error": {"message": OPENAI.format(8192, 9000) + "(6000 in the "
     "messages, 1000 in the functions, and 2000 in the completion).",
     "code": "context_length_exceeded"}}, L, 1192),
    ("vLLM 0.32", 400, {"error": {"message": "This model's maximum context length is 512 tokens. "
     "However, your prompt contains 600 input tokens, which exceeds this limit even without any "
     "output tokens. Please reduce the length of the input prompt.", "type": "BadRequestError",
     "param": "input_tokens", "code": 400}}, F, None),
    ("vLLM 0.32, characters", 400, {"error": {"message": "However, your prompt contains 99999 "
     "characters", "type": "BadRequestError", "param": "input_text", "code": 400}}, F, None),
    ("llama.cpp", 400, {"error": {"code": 400, "message": "request (4242 tokens) exceeds the "
     "available context size (4096 tokens), try increasing it",
     "type": "exceed_context_size_error", "n_prompt_tokens": 4242, "n_ctx": 4096}}, F, None),
    ("llama.cpp of 2025 answers 500", 500, {"error": {"code": 500, "message": "the request exceeds "
     "the available context size. try increasing the context size or enable context shift",
     "type": "exceed_context_size_error"}}, F, None),
    ("LiteLLM", 400, {"error": {"message": "litellm.ContextWindowExceededError: too long",
     "type": "ContextWindowExceededError", "code": "400"}}, F, None),
    ("Mistral", 400, {"object": "error", "message": "Prompt contains 40000 tokens, too large for "
     "model with 32768 maximum context length", "code": 3051}, F, None),
    ("Zhipu", 400, {"error": {"code": "1261", "message": "Prompt exceeds max length"}}, F, None),
    # By their words.
    ("vLLM 0.10", 400, {"error": {"message": "This model's maximum context length is 4096 tokens. "
     "However, your request has 4242 input tokens. Please reduce the length of the input "
     "messages.", "type": "BadRequestError", "param": None, "code": 400}}, F, None),
    ("vLLM 0.10, answer too long", 400, {"error": {"message": "'max_tokens' or "
     "'max_completion_tokens' is too large: 8192. This model's maximum context length is 8192 "
     "tokens and your request has 203 input tokens (8192 > 8192 - 203). None",
     "type": "BadRequestError", "param": None, "code": 400}}, L, 7989),
    ("vLLM 0.15, counted", 400, {"error": {"message": "This model's maximum context length is 8192 "
     "tokens. However, you requested 8192 output tokens and your prompt contains 203 input tokens, "
     "for a total of 8395 tokens.", "code": 400}}, L, 7989),
    ("vLLM 0.15, not counted to the end", 400, {"error": {"message": "This model's maximum context "
     "length is 8192 tokens. However, you requested 8000 output tokens and your prompt contains at "
     "least 193 input tokens, for a total of at least 8193 tokens.", "code": 400}}, L, None),
    ("SGLang", 400, {"object": "error", "message": "The input (4242 tokens) is longer than the "
     "model's context length (4096 tokens).", "type": "BadRequestError", "code": 400}, F, None),
    ("SGLang, pool", 400, {"object": "error", "message": "Input length (700001 tokens) exceeds the "
     "maximum allowed length (536826 tokens). Use a shorter input or enable "
     "--allow-auto-truncate.", "code": 400}, F, None),
    ("SGLang, answer too long", 400, {"object": "error", "message": "Requested token count exceeds "
     "the model's maximum context length of 4096 tokens. You requested a total of 5000 tokens: "
     "4000 tokens from the input messages and 1000 tokens for the completion."}, L, 96),
    ("TGI", 422, {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= "
     "4096. Given: 4242 `inputs` tokens and 512 `max_new_tokens`", "error_type": "validation"},
     F, None),
    ("TGI, answer too long", 422, {"error": "Input validation error: `inputs` tokens + "
     "`max_new_tokens` must be <= 4096. Given: 4000 `inputs` tokens and 512 `max_new_tokens`",
     "error_type": "validation"}, L, 96),
    ("Ollama", 400, {"error": {"message": "prompt too long; exceeded max context length by 12 "
     "tokens", "type": "api_error"}}, F, None),
    ("LM Studio", 500, {"error": "The number of tokens to keep from the initial prompt is greater "
     "than the context length. Try to load the model with a larger context length, or provide a "
     "shorter input"}, F, None),
    ("DeepSeek", 400, {"error": {"message": OPENAI.format(131072, 131134) + "(122942 in the "
     "messages, 8192 in the completion). Please reduce the length of the messages or completion.",
     "type": "invalid_request_error", "code": "invalid_request_error"}}, L, 8130),
    ("Gemini", 400, [{"error": {"code": 400, "message": "The input token count (1200000) exceeds "
     "the maximum number of tokens allowed (1048576).", "status": "INVALID_ARGUMENT"}}], F, None),
    ("OpenRouter", 400, {"error": {"message": "This endpoint's maximum context length is 8192 "
     "tokens. However, you requested about 9000 tokens (6000 of text input, 1000 of tool input, "
     "2000 in the output).", "code": 400}}, L, 1192),
    ("Anthropic", 400, {"type": "error", "error": {"type": "invalid_request_error",
     "message": "prompt is too long: 210000 tokens > 200000 maximum"}}, F, None),
    ("Anthropic, answer too long", 400, {"error": {"type": "invalid_request_error", "message":
     "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000"}}, L, 11760),
    ("Bedrock", 400, {"message": "Input is too long for requested model."}, F, None),
    ("xAI", 400, {"code": "Client specified an invalid argument", "error": "This model's maximum "
     "prompt length is 131072 but the request contains 140000 tokens."}, F, None),
    ("Moonshot", 400, {"error": {"message": "Invalid request: Your request exceeded model token "
     "limit: 8192", "type": "invalid_request_error"}}, F, None),
    ("MiniMax", 400, {"type": "error", "error": {"type": "invalid_request_error", "message":
     "invalid params, context window exceeds limit (2013)"}}, F, None),
    ("SiliconFlow", 400, {"code": 20015, "message": "length of prompt_tokens (40000) must be less "
     "than max_seq_len (32768).", "data": None}, F, None),
    ("vLLM 0.8 to 0.10, engine", 400, {"error": {"message": "The decoder prompt (length 40000) is "
     "longer than the maximum model length of 32768. Make sure that `max_model_len` is no smaller "
     "than the number of text tokens.", "type": "BadRequestError", "code": 400}}, F, None),
    ("LiteLLM, by its words", 400, {"error": {"message": "litellm.BadRequestError: "
     "ContextWindowExceededError: OpenAIException - x", "type": None, "code": "400"}}, F, None),
    ("Cerebras", 400, {"message": "Please reduce the length of the messages or completion. Current "
     "length is 9000 while limit is 8192", "type": "invalid_request_error", "param": "messages",
     "code": "context_length_exceeded"}, F, None),
    ("Fireworks", 400, {"error": {"object": "error", "type": "invalid_request_error", "message":
     "The prompt is too long: 140000, model maximum context length: 131071"}}, F, None),
    ("Cohere", 400, {"id": "x", "message": "too many tokens: total number of tokens in the prompt "
     "cannot exceed 4081 - received 5000."}, F, None),
    ("MLX", 400, {"error": "Prompt length 5000 exceeds maximum context length 4096"}, F, None),
    ("DashScope", 400, {"error": {"message": "Range of input length should be [1, 129024]",
     "code": "invalid_parameter_error"}}, F, None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "body", "kind", "room"),
    [row[1:] for row in CONTEXT],
    ids=[row[0] for row in CONTEXT],
)
def test_a_full_context_is_told_from_an_answer_that_does_not_fit(
    status: int, body: Any, kind: Kind, room: int | None
) -> None:
    found = server_errors.read(status, json.dumps(body))
    assert (found.kind, found.room) == (kind, room)


OTHERS: list[tuple[str, int, Any, Kind, str]] = [
    ("vLLM, a validation error as words", 400, {"error": {"message": "[{'type': 'extra_forbidden', "
     "'loc': ('body', 'seed'), 'msg': 'Extra inputs are not permitted'}]", "type":
     "BadRequestError", "param": None, "code": 400}}, Kind.UNSUPPORTED, "seed"),
    ("Cloudflare, an unknown error behind it", 520, "error code: 520", Kind.BUSY, ""),
    ("Cloudflare, no answer in time", 524, "<html>A timeout occurred</html>", Kind.BUSY, ""),
    ("Cloudflare, a wrong certificate", 526, "error code: 526", Kind.REFUSED, ""),
    ("DeepSeek, no money", 402, {"error": {"message": "Insufficient Balance", "type":
     "unknown_error", "code": "invalid_request_error"}}, Kind.REFUSED, ""),
    ("Groq, one request above the budget", 413, {"error": {"message": "Request too large for model "
     "`x` on tokens per minute (TPM): Limit 6000, Requested 8000", "type": "tokens", "code":
     "rate_limit_exceeded"}}, Kind.REFUSED, ""),
    ("DeepSeek, a turn without a thought", 400, {"error": {"message": "Missing `reasoning_content` "
     "field in the assistant message at message index 4.", "type": "invalid_request_error",
     "code": "invalid_request_error"}}, Kind.MISSING, ""),
    ("DeepSeek V4", 400, {"error": {"message": "The `reasoning_content` in the thinking mode must "
     "be passed back to the API.", "code": "invalid_request_error"}}, Kind.MISSING, ""),
    ("Groq, a call that it can't read", 400, {"error": {"message": "Failed to call a function. "
     "Please adjust your prompt. See 'failed_generation' for more details.", "type":
     "invalid_request_error", "code": "tool_use_failed", "failed_generation": "<function=f>{"}},
     Kind.UNREADABLE, ""),
    ("Groq, arguments of a wrong type", 400, {"error": {"message": "tool call validation failed: "
     "parameters for tool f did not match schema: errors: [`/a`: expected array, but got string]",
     "type": "invalid_request_error", "code": "tool_use_failed"}}, Kind.UNREADABLE, ""),
    ("Groq behind LiteLLM", 400, {"error": {"message": "litellm.BadRequestError: GroqException - "
     '{"error":{"message":"Failed to call a function.","code":"tool_use_failed"}}', "type": None,
     "code": "400"}}, Kind.UNREADABLE, ""),
    ("Ollama, a call that it can't read", 500, {"error": {"message": "error parsing tool call: "
     "raw='{\"a\": \"the maximum context length}', err=invalid character", "type": "api_error"}},
     Kind.UNREADABLE, ""),
    ("llama.cpp, a turn that its parser fails on", 500, {"error": {"code": 500, "message": "The "
     "model produced output that does not match the expected peg-native format", "type":
     "server_error"}}, Kind.UNPARSED, ""),
    ("omlx, arguments as a text", 500, {"error": {"message": "Can only get item pairs from a "
     "mapping.", "type": "server_error"}}, Kind.TEXT_ARGUMENTS, ""),
    ("llama.cpp, arguments as a text", 500, {"error": {"code": 500, "message": "\n------------\n"
     "While executing FilterExpression at line 120, column 73 in source:\n..._name, args_value in "
     "tool_call.arguments|items %}\nError: Unknown (built-in) filter 'items' for type String",
     "type": "server_error"}}, Kind.TEXT_ARGUMENTS, ""),
    ("Gemini, keywords of a schema", 400, [{"error": {"code": 400, "message": "Invalid JSON "
     "payload received. Unknown name \"$defs\" at 'tools[0].function_declarations[0].parameters': "
     "Cannot find field.\nInvalid JSON payload received. Unknown name \"additionalProperties\" at "
     "'tools[0].function_declarations[1].parameters.properties[0].value.items': Cannot find field."
     "\nInvalid JSON payload received. Unknown name \"$defs\" at 'tools[0].function_declarations"
     "[2].parameters': Cannot find field.", "status": "INVALID_ARGUMENT"}}],
     Kind.TOOL_SCHEMA, "$defs additionalProperties"),
    ("Gemini, a list of types", 400, [{"error": {"code": 400, "message": "Invalid JSON payload "
     "received. Unknown name \"type\" at 'tools[0].function_declarations[0].parameters.properties"
     "[0].value': Proto field is not repeating, cannot start list.", "status":
     "INVALID_ARGUMENT"}}], Kind.UNSUPPORTED, "type"),
    ("Gemma in vLLM, a system prompt", 400, {"error": {"message": "System role not supported",
     "type": "BadRequestError", "code": 400}}, Kind.NO_SYSTEM, ""),
    ("Gemma in Gemini's API, a system prompt", 400, [{"error": {"code": 400, "message": "Developer "
     "instruction is not enabled for models/gemma-3-27b-it", "status": "INVALID_ARGUMENT"}}],
     Kind.NO_SYSTEM, ""),
    ("OpenAI's o1-mini, a system prompt", 400, {"error": {"message": "Unsupported value: "
     "'messages[0].role' does not support 'system' with this model.", "type":
     "invalid_request_error", "param": "messages[0].role", "code": "unsupported_value"}},
     Kind.NO_SYSTEM, ""),
    ("Gemma in vLLM, a greeting", 400, {"error": {"message": "Conversation roles must alternate "
     "user/assistant/user/assistant/...", "type": "BadRequestError", "code": 400}},
     Kind.USER_FIRST, ""),
    ("Mistral in vLLM, a greeting", 400, {"object": "error", "message": "After the optional system "
     "message, conversation roles must alternate user/assistant/user/assistant/...", "type":
     "BadRequestError", "code": 400}, Kind.USER_FIRST, ""),
    ("Anthropic, a greeting", 400, {"error": {"type": "invalid_request_error", "message":
     'messages: first message must use the "user" role'}}, Kind.USER_FIRST, ""),
    ("Bedrock, a greeting", 400, {"error": {"message": "A conversation must start with a user "
     "message. Try again with a conversation that starts with a user message."}},
     Kind.USER_FIRST, ""),
    ("Mistral, an empty turn", 400, {"object": "error", "message": "Assistant message must have "
     "either content or tool_calls, but not none.", "type": "invalid_request_error"},
     Kind.EMPTY_MESSAGE, ""),
    ("vLLM with Mistral's tokenizer, an empty turn", 400, {"object": "error", "message": "Invalid "
     "assistant message: role='assistant' content=None tool_calls=None prefix=False", "type":
     "BadRequestError", "param": None, "code": 400}, Kind.EMPTY_MESSAGE, ""),
    ("DeepSeek, an empty turn", 400, {"error": {"message": "Invalid assistant message: content or "
     "tool_calls must be set", "type": "invalid_request_error"}}, Kind.EMPTY_MESSAGE, ""),
    ("Anthropic, an empty turn", 400, {"type": "error", "error": {"type": "invalid_request_error",
     "message": "messages.2: all messages must have non-empty content except for the optional "
     "final assistant message"}}, Kind.EMPTY_MESSAGE, ""),
    ("Anthropic, a blank text", 400, {"error": {"message": "messages: text content blocks must "
     "contain non-whitespace text"}}, Kind.EMPTY_MESSAGE, ""),
    ("Bedrock behind LiteLLM, a blank text", 400, {"error": {"message": "litellm.BadRequestError: "
     'BedrockException - {"message":"The text field in the ContentBlock object at '
     'messages.2.content.1 is blank. Add text to the text field, and try again."}'}},
     Kind.EMPTY_MESSAGE, ""),
    ("Moonshot, an empty turn", 400, {"error": {"message": "Invalid request: the message at "
     "position 2 with role 'assistant' must not be empty", "type": "invalid_request_error"}},
     Kind.EMPTY_MESSAGE, ""),
    ("a gateway, an empty turn", 400, {"error": {"message": "assistant messages must include "
     "non-empty content or tool_calls", "type": "invalid_request_error"}}, Kind.EMPTY_MESSAGE, ""),
    ("OpenAI, null next to calls", 400, {"error": {"message": "Invalid value for 'content': "
     "expected a string, got null.", "type": "invalid_request_error", "param":
     "messages.[2].content"}}, Kind.EMPTY_MESSAGE, ""),
    ("Ollama, null next to calls", 400, {"error": {"message": "invalid message content type: <nil>",
     "type": "invalid_request_error"}}, Kind.EMPTY_MESSAGE, ""),
    ("OpenAI, o-series", 400, {"error": {"message": "Unsupported parameter: 'max_tokens' is not "
     "supported with this model. Use 'max_completion_tokens' instead.",
     "type": "invalid_request_error", "param": "max_tokens", "code": "unsupported_parameter"}},
     Kind.UNSUPPORTED, "max_tokens"),
    ("a proxy that keeps the words only", 400, {"error": {"message": "Unsupported parameter: "
     "'max_tokens' is not supported with this model.", "code": "invalid_request_body"}},
     Kind.UNSUPPORTED, "max_tokens"),
    ("OpenAI, GPT-5", 400, {"error": {"message": "Unsupported value: 'temperature' does not "
     "support 0 with this model. Only the default (1) value is supported.",
     "param": "temperature", "code": "unsupported_value"}}, Kind.UNSUPPORTED, "temperature"),
    ("Anthropic", 400, {"error": {"type": "invalid_request_error", "message":
     "`temperature` is deprecated for this model."}}, Kind.UNSUPPORTED, "temperature"),
    ("Mistral", 422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"],
     "msg": "Extra inputs are not permitted"}]}, Kind.UNSUPPORTED, "seed"),
    ("Gemini", 400, [{"error": {"code": 400, "message": "Invalid JSON payload received. Unknown "
     "name \"seed\": Cannot find field.", "status": "INVALID_ARGUMENT"}}],
     Kind.UNSUPPORTED, "seed"),
    ("Groq", 400, {"error": {"message": "'messages.2' : for 'role:assistant' the following must be "
     "satisfied[('messages.2' : property 'reasoning_content' is unsupported)]",
     "type": "invalid_request_error"}}, Kind.UNSUPPORTED, "reasoning_content"),
    ("OpenAI, rate", 429, {"error": {"message": "Rate limit reached for requests",
     "type": "requests", "code": "rate_limit_exceeded"}}, Kind.RATE_LIMITED, ""),
    ("Mistral, rate", 429, {"object": "error", "message": "Rate limit exceeded",
     "type": "rate_limited", "code": "1300"}, Kind.RATE_LIMITED, ""),
    ("OpenAI, no money", 429, {"error": {"message": "You exceeded your current quota",
     "type": "insufficient_quota", "code": "insufficient_quota"}}, Kind.REFUSED, ""),
    ("OpenAI, one request above the budget", 429, {"error": {"message": "Request too large for "
     "gpt-4o on tokens per min (TPM): Limit 30000, Requested 42000.", "type": "tokens",
     "code": "rate_limit_exceeded"}}, Kind.REFUSED, ""),
    ("vLLM, more than the model's length", 400, {"error": {"message": "max_tokens=8192 cannot be "
     "greater than max_model_len=512", "type": "BadRequestError", "param": "max_tokens",
     "code": 400}}, Kind.REFUSED, ""),
    ("OpenAI, more than the model writes", 400, {"error": {"message": "max_tokens is too large: "
     "8192. This model supports at most 4096 completion tokens, whereas you provided 8192.",
     "param": "max_tokens", "code": "invalid_value"}}, Kind.REFUSED, ""),
    ("a wrong key", 401, {"error": {"message": "Incorrect API key provided"}}, Kind.REFUSED, ""),
    ("Anthropic, overloaded", 529, {"error": {"type": "overloaded_error"}}, Kind.BUSY, ""),
    ("a gateway", 502, "<html>502 Bad Gateway</html>", Kind.BUSY, ""),
    ("a tool that is called context", 400, {"error": {"message": "Invalid schema for function "
     "'get_context': None is not of type 'object'"}}, Kind.REFUSED, ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "body", "kind", "parameter"),
    [row[1:] for row in OTHERS],
    ids=[row[0] for row in OTHERS],
)
def test_other_errors(status: int, body: Any, kind: Kind, parameter: str) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    found = server_errors.read(status, text)
    assert (found.kind, found.parameter) == (kind, parameter)


@pytest.mark.parametrize("body", ["", "[]", "null", "7", '{"error": null}', '{"detail": [1]}', "["])
def test_a_body_of_any_form_is_read(body: str) -> None:
    assert server_errors.read(400, body).kind is Kind.REFUSED


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"error": {"message": "Provider returned error", "code": 502}}, 502),
        ({"error": {"message": "x", "code": "overloaded"}}, 502),
        ({"error": {"message": "Rate limit", "code": 429}}, 429),
        ({"choices": [{}], "error": None}, None),
        ({"choices": []}, None),
        ([], None),
    ],
)
def test_an_error_in_a_reply_of_status_200(body: Any, status: int | None) -> None:
    assert server_errors.in_success(body) == status
