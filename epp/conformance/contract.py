"""What a gateway on Envoy takes from a picker, message by message.

Envoy keeps a small state per stream and direction: an answer must fit a message that was sent and not yet
answered, and a body's answer must be of the form its mode wants. Anything else ends the request with 500
("Spurious response message"). Source: Envoy's ext_proc filter, as documented in ``external_processor.proto``
and ``processing_mode.proto``, and as seen with 1.40.
"""

from typing import Final

from epp.conformance.answers import Answer
from epp.conformance.messages import Mode
from epp.conformance.model import FailedError

_HEAD: Final = "headers"
_BODY: Final = "body"
_TRAILERS: Final = "trailers"
_CLOSING: Final = "a gateway on Envoy ends such a request with 500"


class Direction:
    """One direction of a stream: what was sent, and what the answers to it may be."""

    def __init__(self, side: str, mode: Mode) -> None:
        """``side``: request or response."""
        self.side = side
        self.mode = mode
        self.head_open = False
        """Whether the head was sent and is not answered."""
        self.given_back = bytearray()
        """The body as the picker gave it back; a replacement, where it made one."""
        self.pieces: list[int] = []
        """Lengths of the pieces it gave back, in bytes."""
        self.ended = False
        """Whether the picker marked the end of the body."""
        self.bodies_open = 0
        """Body messages sent and not answered; counted outside duplex mode only."""
        self.trailers_open = False
        self.trailers_sent = False
        self._sent_body = False

    # --- what the gateway sends ----------------------------------------------------------------------------

    def sent_head(self) -> None:
        """The head is on its way."""
        self.head_open = True

    def sent_body(self) -> None:
        """A piece of the body is on its way."""
        self._sent_body = True
        if self.mode is not Mode.FULL_DUPLEX_STREAMED:
            self.bodies_open += 1

    def sent_trailers(self) -> None:
        """The trailers are on their way."""
        self.trailers_open = self.trailers_sent = True

    # --- what the picker answers ---------------------------------------------------------------------------

    def take(self, answer: Answer) -> None:
        """Checks one answer of this direction. Raises FailedError where Envoy would give up."""
        part = answer.kind.partition("_")[2]
        {_HEAD: self._take_head, _BODY: self._take_body, _TRAILERS: self._take_trailers}[part](answer)

    def _take_head(self, answer: Answer) -> None:
        if not self.head_open:
            raise self._spurious(answer, "its head had been answered or not been sent")
        if answer.piece is not None:
            raise self._spurious(answer, "it carries a streamed body")
        self.head_open = False

    def _take_body(self, answer: Answer) -> None:
        if self.head_open:
            raise self._spurious(answer, "the head was not answered yet")
        if not self._sent_body:
            raise self._spurious(answer, "no body had been sent")
        if self.mode is Mode.FULL_DUPLEX_STREAMED:
            self._take_piece(answer)
        else:
            self._take_plain(answer)

    def _take_piece(self, answer: Answer) -> None:
        if answer.piece is None:
            raise self._spurious(answer, "in FULL_DUPLEX_STREAMED it has to be a streamed_response")
        if self.ended:
            raise self._spurious(answer, "the picker had ended the body already")
        self.given_back += answer.piece
        self.pieces.append(len(answer.piece))
        self.ended = answer.ends_body

    def _take_plain(self, answer: Answer) -> None:
        if answer.piece is not None and self.mode is Mode.BUFFERED:
            raise self._spurious(answer, "a streamed_response does not belong to mode BUFFERED")
        if not self.bodies_open:
            raise self._spurious(answer, "every body message had been answered")
        self.bodies_open -= 1
        changed = answer.replacement if answer.piece is None else answer.piece
        if changed is not None:
            self.given_back += changed
            self.pieces.append(len(changed))

    def _take_trailers(self, answer: Answer) -> None:
        if not self.trailers_open or self.head_open:
            raise self._spurious(answer, "its trailers had been answered, or not sent")
        self.trailers_open = False

    def _spurious(self, answer: Answer, why: str) -> FailedError:
        return FailedError(f"{answer.kind}, but {why}: {_CLOSING}")
