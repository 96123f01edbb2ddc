"""HTTP/1.1 on both sides: the server clients talk to, the client that talks to model servers."""
