"""What all tests share."""

import functools
import os

from httpx2._transports import default as transports
from hypothesis import HealthCheck, settings

# Slow drawing is a fact of a loaded 2-core machine, not a fault of the code under test.
settings.register_profile("exploring", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("repeatable", settings.get_profile("exploring"), derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "exploring"))

# To read all roots that a client may trust takes 24 ms of CPU, and tests make thousands of clients, most of plain HTTP.
transports.create_ssl_context = functools.cache(transports.create_ssl_context)


def pytest_collection_modifyitems(items):
    """Begin with what takes minutes and mostly waits, so that nothing waits for it at the end."""
    items.sort(key=lambda item: item.get_closest_marker("waits") is None)
