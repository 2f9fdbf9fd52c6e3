"""One system for a whole table of attacks."""

import pytest

from security.ground import Ground


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    ground = Ground(tmp_path_factory.mktemp("ground"))
    yield ground
    ground.stop()
