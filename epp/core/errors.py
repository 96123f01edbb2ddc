"""Errors, by whose fault they are; each knows the HTTP status a door answers with.

Expected endings (no endpoint, shed) are values (:mod:`epp.core.outcomes`), not exceptions. What is raised
here carries one sentence its receiver can act on; foreign exceptions are translated once, where they arise.
"""

from typing import ClassVar


class EppError(Exception):
    """Root of everything raised on purpose; by itself a fault of ours."""

    status: ClassVar[int] = 500
    """HTTP status of the answer."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        """One sentence for whoever can act on it."""


class ClientError(EppError):
    """The client sent something it has to change."""

    status = 400


class BadRequestError(ClientError):
    """The request's body or path cannot mean anything to the API it was sent to."""


class TooLargeError(ClientError):
    """The request exceeds a bound of this picker."""

    status = 413


class ModelServerError(EppError):
    """A model server, or the gateway speaking for it, broke its contract."""

    status = 502


class OperatorError(EppError):
    """Something the operator set up cannot work; it is noticed at start, not by a client."""

    status = 500
