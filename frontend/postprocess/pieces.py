"""What an answer is made of once it is understood: text, reasoning, calls."""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Content:
    """Text for the reader."""

    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """Text the model thought before answering."""

    text: str


@dataclass(frozen=True, slots=True)
class CallStart:
    """A function call begins; everything about it but the arguments is known."""

    name: str
    call_id: str = ""
    """The model's own, where its format has one; empty: one has to be made up."""


@dataclass(frozen=True, slots=True)
class CallArguments:
    """More of the arguments' JSON text of the call begun last."""

    text: str


Piece: TypeAlias = Content | Reasoning | CallStart | CallArguments


def merged(pieces: list[Piece]) -> list[Piece]:
    """The same answer with neighbouring pieces of one kind joined and empty ones left out."""
    out: list[Piece] = []
    for piece in pieces:
        last = out[-1] if out else None
        if isinstance(piece, CallStart):
            out.append(piece)
        elif not piece.text:
            continue
        elif last is not None and not isinstance(last, CallStart) and type(last) is type(piece):
            out[-1] = type(piece)(last.text + piece.text)
        else:
            out.append(piece)
    return out
