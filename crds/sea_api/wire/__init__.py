"""What operator and coordinator say to each other: `Desired` down, `CoordinatorState` up."""
