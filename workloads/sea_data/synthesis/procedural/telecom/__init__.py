"""Telecom's procedural worker: breaks a phone, then repairs it by the policy."""
