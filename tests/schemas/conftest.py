"""Property tests repeat exactly, and a busy machine fails none of them."""

from hypothesis import HealthCheck, settings

settings.register_profile("schemas", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("schemas")
