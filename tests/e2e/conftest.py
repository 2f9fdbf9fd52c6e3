"""A system of a test's own and a loader with no boards yet; and both shared by tests that bring boards of their own."""

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


@pytest.fixture(scope="session")
def shared_system(tmp_path_factory):
    system = System(tmp_path_factory.mktemp("system"), gateways=2)
    yield system
    system.stop()


@pytest.fixture(scope="session")
def loaded_fleet(tmp_path_factory):
    fleet = Fleet(tmp_path_factory.mktemp("boards"))
    fleet.start()
    yield fleet
    fleet.stop()


@pytest.fixture(scope="module")
def shared_fleet(loaded_fleet):
    """The one loader of all modules; a module's boards are off when it is through: what reports costs time."""
    yield loaded_fleet
    for board in loaded_fleet.status():
        loaded_fleet.off(board)
