"""What operator and coordinator say to each other over HTTP: `Desired` down, `CoordinatorState` up."""
