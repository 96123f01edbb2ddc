"""No fuzz test asserts a time: a machine that is busy with other work is no defect."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
