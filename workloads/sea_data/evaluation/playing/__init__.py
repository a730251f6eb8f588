"""`sea evaluate` and `sea play` without Kubernetes: tasks from a folder, an agent and a user from
wherever they are, episodes on one event loop, one JSONL line for each as it ends.
"""
