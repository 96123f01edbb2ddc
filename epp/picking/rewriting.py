"""The few changes a picker makes to a body, each a splice; everything else goes through byte for byte."""

from epp.config.model import RoutingConfig
from epp.core.requests import Api
from epp.core.tokens import Exactness, Tokenized
from epp.picking.asking import Asked
from epp.wire.inject import splice_cache_salt, splice_model, splice_token_data

_WITH_NVEXT = frozenset({Api.CHAT, Api.COMPLETIONS})
"""APIs whose bodies carry ``nvext``."""
_WITH_SALT = frozenset({Api.CHAT, Api.COMPLETIONS, Api.RESPONSES})
"""APIs whose engines know a top-level ``cache_salt``."""


def rewritten(body: bytes | None, asked: Asked, tokens: Tokenized, routing: RoutingConfig) -> bytes | None:
    """The body to forward; None: as it came."""
    if body is None:
        return None
    changed = body
    if asked.names_another:
        changed = splice_model(changed, asked.intent.model)
    if routing.inject_cache_salt and _lacks_salt(asked):
        changed = splice_cache_salt(changed, asked.intent.salt)
    if routing.inject_token_data and _lacks_tokens(asked, tokens):
        changed = splice_token_data(changed, tokens.tokens)
    return None if changed is body else changed


def _lacks_salt(asked: Asked) -> bool:
    """A tenant or an ``nvext`` salt that the engine would not see: it must hash as the picker does."""
    salt = asked.intent.salt
    return bool(salt) and salt != asked.request.cache_salt and asked.request.api in _WITH_SALT


def _lacks_tokens(asked: Asked, tokens: Tokenized) -> bool:
    given = asked.request.nvext.token_data is not None
    return not given and tokens.exactness is Exactness.EXACT and asked.request.api in _WITH_NVEXT
