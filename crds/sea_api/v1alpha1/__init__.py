"""Models of `sea-operator.io/v1alpha1`."""
