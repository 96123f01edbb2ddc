"""Request bodies of the inference APIs, read for what can change where a request goes.

``parse_request`` is total: any bytes give an :class:`~epp.core.requests.InferenceRequest` or a
:class:`~epp.core.errors.BadRequestError`. What each API contributes is tabled in docs/requests.md.
"""

from epp.wire.openai.bounds import RequestLimits
from epp.wire.openai.parse import parse_request
from epp.wire.openai.paths import api_of

__all__ = ["RequestLimits", "api_of", "parse_request"]
