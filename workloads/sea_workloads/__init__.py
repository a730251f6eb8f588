"""What runs inside the pods of a SEATrainingJob; folders mirror the pod roles."""
