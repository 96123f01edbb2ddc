"""The ext_proc door."""
