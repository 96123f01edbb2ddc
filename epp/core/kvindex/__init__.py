"""Which worker holds which block, and the router built on it."""
