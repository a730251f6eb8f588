"""Models behind OpenAI-compatible endpoints, for whoever talks to one: users, judges, writers."""
