"""The contract of sea-operator: the SEATrainingJob resource and the operator's talk with a coordinator.

Everything here is plain data. Both the control plane and the workloads import it; it imports
neither of them, nor torch, nor kopf.
"""
