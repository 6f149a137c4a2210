"""konduktor-health: a GPU-node health controller for Kubernetes."""

__version__ = "0.1.0"
