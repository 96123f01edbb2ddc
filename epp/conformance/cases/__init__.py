"""The cases, one module per area. A trial's docstring is the rule it tries; it returns what came."""
