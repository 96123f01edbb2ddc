"""Bytes to typed records, totally: every way a body can be wrong becomes one sentence for the client.

Decoding is msgspec's: fields nobody asked for are skipped without building objects, so a 430 KB chat body
costs about 0.14 ms, most of it copying the message texts. Skipped strings are not checked for UTF-8; the
engine does that.
"""

from typing import TypeVar

import msgspec

from epp.core.errors import BadRequestError
from epp.wire.openai.nvext import allowed_fields

_T = TypeVar("_T")


def decode(decoder: msgspec.json.Decoder[_T], body: bytes | msgspec.Raw) -> _T:
    """``body`` as the decoder's record; raises BadRequestError and nothing else."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise BadRequestError(_explain(str(error))) from error
    except msgspec.DecodeError as error:
        raise BadRequestError(f"The body is not valid JSON: {_lower_first(str(error))}.") from error
    except UnicodeDecodeError as error:
        raise BadRequestError("The body is not valid UTF-8.") from error
    except RecursionError as error:
        raise BadRequestError("The body is nested too deeply.") from error


def convert(value: object, to: type[_T], field: str) -> _T:
    """A decoded part of a body as a record; raises BadRequestError that names ``field``."""
    try:
        return msgspec.convert(value, to)
    except msgspec.ValidationError as error:
        raise BadRequestError(_explain(str(error).replace("`$", f"`$.{field}"))) from error


def _explain(text: str) -> str:
    """The decoder's ``Expected `str`, got `int` - at `$.model``` as a sentence that starts with the field."""
    detail, _, path = text.partition(" - at `$")
    field = path.rstrip("`").removeprefix(".")
    place = f"Field `{field}`" if field else "The body"
    sentence = f"{place}: {_lower_first(detail)}"
    allowed = allowed_fields(field) if "unknown field" in detail else ()
    return f"{sentence}; allowed are {', '.join(allowed)}." if allowed else f"{sentence}."


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:] if text[1:2].islower() else text
