"""One request from parsed headers and body to a choice."""
