"""The contract of sea-operator: the SEATrainingJob resource, and the messages between operator and
coordinator.

Everything here is plain data. Both the control plane and the workloads import it; it imports
neither of them, nor torch, nor kopf.
"""
