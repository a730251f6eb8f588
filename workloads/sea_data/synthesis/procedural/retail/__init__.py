"""Retail's task generator: `task_generator.RetailTaskGenerator`."""
