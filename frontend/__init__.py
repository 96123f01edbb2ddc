"""The frontend: an HTTP server that forwards requests straight to model servers and runs prefill → decode."""
