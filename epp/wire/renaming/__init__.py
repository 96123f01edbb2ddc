"""Answers to rewritten requests: the client's name of its model in the place of the one that answered."""

from epp.wire.renaming.restorer import ModelRestorer

__all__ = ["ModelRestorer"]
