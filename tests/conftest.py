"""What all tests share."""

from hypothesis import HealthCheck, settings

# Slow drawing is a fact of a loaded 2-core machine, not a fault of the code under test.
settings.register_profile("fieldloom", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fieldloom")
