"""Settings of the frontend."""
