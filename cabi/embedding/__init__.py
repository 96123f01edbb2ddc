"""``libepp_request``: the request level as a shared library, a Python program behind a C face.

The C face is here; the program behind it is whatever the module named in :mod:`cabi.embedding.build`
installs, so this package knows nothing of it.
"""
