"""Every backend of time series, ready: DuckDB in a folder, real servers as subprocesses."""

import itertools

import pytest

from fieldloom_cloud.settings import SeriesSettings
from fieldloom_cloud.timeseries.opening import open_series
from fixtures.series_servers import InfluxServer, VictoriaServer

BACKENDS = ("duckdb", "influxdb", "victoriametrics")
_numbers = itertools.count(1)


class Ready:
    """An open backend, and its server if it has one."""

    def __init__(self, name, folder):
        self.name = name
        kinds = {"influxdb": InfluxServer, "victoriametrics": VictoriaServer}
        self.server = kinds[name](folder / name).start() if name in kinds else None
        settings = self.server.settings() if self.server else SeriesSettings()
        self.backend = open_series(folder, settings)

    def write(self, points, tier):
        receipt = self.backend.write(points, tier)
        if self.server:
            self.server.show()
        return receipt

    def close(self):
        self.backend.close()
        if self.server:
            self.server.stop()


@pytest.fixture(scope="session", params=BACKENDS)
def ready(request, tmp_path_factory):
    ready = Ready(request.param, tmp_path_factory.mktemp("series"))
    yield ready
    ready.close()


@pytest.fixture
def device():
    """A device that no other test writes of."""
    return f"dev-{next(_numbers)}"
