"""Decisions: pure, given the time as an argument."""
