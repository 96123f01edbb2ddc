"""Sockets that several shells share."""
