"""Messages between operator and coordinator: `CoordinatorSpec` down, `CoordinatorState` up."""
