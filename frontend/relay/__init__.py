"""The way to a worker and back."""
