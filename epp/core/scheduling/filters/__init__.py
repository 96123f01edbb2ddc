"""Filters: who may serve. One file each."""
