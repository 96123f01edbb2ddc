"""A real Kubernetes API server for tests: no cluster, no containers, no kubelet."""
