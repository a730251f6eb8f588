"""Airline's task generator: `task_generator.AirlineTaskGenerator`."""
