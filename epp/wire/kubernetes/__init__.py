"""The Kubernetes API as far as discovery needs it: objects to endpoints. Pure; every reader is total."""
