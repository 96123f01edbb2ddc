"""Simulated engines, vocabularies and harnesses, for tests, the demo and plugin authors."""
