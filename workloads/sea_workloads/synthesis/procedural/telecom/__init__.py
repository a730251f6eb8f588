"""Telecom's procedural worker: breaks a phone in its initial state, then repairs it by the policy."""
