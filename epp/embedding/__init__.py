"""The door for programs in other languages: what runs inside ``libepp_request``.

``cabi/embedding`` is its C face and calls the functions that :func:`install` defines; ``epp_request.h`` is
the contract.
"""

from epp.embedding.program import install

__all__ = ["install"]
