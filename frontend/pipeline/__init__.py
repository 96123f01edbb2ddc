"""The way of one request: segments in a row, each handing on to the next."""
