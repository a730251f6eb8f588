"""The system prompt of domains with a policy of their own: policy, then tools as JSON schemas."""

from collections.abc import Sequence

from sea_env.domains.base import Tool
from sea_env.tokens import tool_prompt

_INSTRUCTION = """\
<instructions>
You are a customer service agent that helps the user according to the <policy> provided below.
In each turn you can either:
- Send a message to the user.
- Make a tool call.
You cannot do both at the same time.

Try to be helpful and always follow the policy. Always make sure you generate valid JSON only.
</instructions>"""


def customer_service_prompt(policy: str, tools: Sequence[Tool]) -> str:
    """tau2's instruction and policy, then the tools as Qwen2.5 and Qwen3 want them described."""
    text = f"{_INSTRUCTION}\n<policy>\n{policy.strip()}\n</policy>"
    return tool_prompt.write(text, (tool.schema() for tool in tools))
