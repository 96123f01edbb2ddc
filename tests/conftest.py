"""What every test stands on: generated examples are the same in every run, and nobody times them."""

from hypothesis import HealthCheck, settings

_UNTIMED = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
"""A machine that is busy with other work is no defect."""
settings.register_profile("search", **_UNTIMED)
settings.register_profile("steady", derandomize=True, **_UNTIMED)
settings.load_profile("steady")
