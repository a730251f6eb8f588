"""`airline`: an airline's reservation desk with the tools and database layout of tau2-bench.

The tools are a terminal: they do what the agent types, check what a reservation system checks
(records, seats, balances, sums), and leave the policy to the agent. docs/domains/airline.md
specifies each tool.
"""
