"""Property tests here are the same on every run and every machine: no clock, no seed, no example database."""

from hypothesis import settings

settings.register_profile("reproducible", deadline=None, derandomize=True, database=None)
settings.load_profile("reproducible")
