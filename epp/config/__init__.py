"""Configuration: frozen records, and how files, environment and flags become one."""
