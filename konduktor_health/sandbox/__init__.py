"""The embedded surroundings: Kubernetes API, Loki and nodes for the demo and component tests."""
