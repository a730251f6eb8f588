"""What an agent lives in and is judged by: tasks, domains, users, episodes, verifiers, chat.

The lowest floor of the workloads. No torch, no coordinator, no Kubernetes: useful by itself.
"""
