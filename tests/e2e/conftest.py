"""A system of a test's own, and a loader with no boards yet."""

import pytest

from e2e.system import System
from fieldloom_sim.fleet import Fleet


@pytest.fixture
def system(tmp_path):
    system = System(tmp_path)
    yield system
    system.stop()


@pytest.fixture
def fleet(tmp_path):
    fleet = Fleet(tmp_path / "boards")
    fleet.start()
    yield fleet
    fleet.stop()
