"""How ranks share one model: its shape, each rank's coordinates, and where every weight is stored.

Pure, without torch: the trainer builds and loads by it, the coordinator refuses by it what the
model can't do before a pod with GPUs exists, and a plan counts bytes by it.
"""
