"""The bound on request bodies over all clients of a server: each may be small enough, and all be too many."""


class BodyBudget:
    """Bytes of bodies from their arrival until their requests are answered."""

    __slots__ = ("held_bytes", "max_bytes")

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.held_bytes = 0

    def take(self, size: int) -> bool:
        """Hold so many more bytes; False: there is no room, and nothing is held."""
        if self.held_bytes + size > self.max_bytes:
            return False
        self.held_bytes += size
        return True

    def give(self, size: int) -> None:
        """So many bytes are held no longer."""
        self.held_bytes -= size
