"""Subscribers of the engines' KV-cache event streams."""
