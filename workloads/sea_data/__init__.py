"""Files in and out: the published formats, synthesis, evaluation with its report."""
