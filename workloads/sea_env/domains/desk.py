"""The two tools that every customer-service desk has: sums, and handing over to a person."""

from sea_env.domains.arithmetic import evaluate
from sea_env.domains.base import Kind
from sea_env.domains.environment import State
from sea_env.domains.toolkit import tool


@tool(Kind.GENERIC)
def calculate(state: State, expression: str) -> str:
    """Calculate the result of a mathematical expression of numbers, + - * / and parentheses."""
    return str(round(evaluate(expression), 2))


@tool(Kind.GENERIC)
def transfer_to_human_agents(state: State, summary: str) -> str:
    """Transfer the user to a human agent, with a summary of the issue."""
    return "Transfer successful"
