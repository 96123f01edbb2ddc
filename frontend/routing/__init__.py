"""Who serves a request: named by it, or chosen here."""
