"""The command line of the frontend."""
