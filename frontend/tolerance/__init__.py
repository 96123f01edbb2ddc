"""What keeps requests alive when workers fail or are busy: circuit breaker, waiting queue, migration."""
