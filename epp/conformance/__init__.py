"""Tests any endpoint picker from outside: plays the gateway over ext_proc and says what the picker kept of
the protocol. Shares nothing with the picker of this repository, whose mistakes it has to find."""
