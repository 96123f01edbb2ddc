"""Bytes to core types and back; total parsers of foreign data."""
