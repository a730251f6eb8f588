"""`make demo`: one SEATrainingJob from `kubectl apply` to a better agent, on one machine."""
