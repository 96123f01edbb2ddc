"""What the frontend tells of its requests: metrics, the access log, traces."""
