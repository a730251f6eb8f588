"""Telecom's task generator: `task_generator.TelecomTaskGenerator`."""
