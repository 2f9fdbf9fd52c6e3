"""Opens the store of time series that the settings name. (S1, ADR 37)"""

from pathlib import Path

from fieldloom_cloud.settings import SeriesSettings
from fieldloom_cloud.timeseries.influxdb import InfluxDb
from fieldloom_cloud.timeseries.ports import Server
from fieldloom_cloud.timeseries.store import TimeSeries
from fieldloom_cloud.timeseries.victoriametrics import VictoriaMetrics
from fieldloom_runtime.errors import StartFailed


def open_series(data: Path, settings: SeriesSettings) -> TimeSeries | Server:
    """Return the store: DuckDB's in the data folder, or a server that has been asked. Raises StartFailed."""
    if settings.backend == "duckdb":
        return TimeSeries(data)
    server = _server(settings)
    try:
        server.open()
    except StartFailed:
        server.close()
        raise
    return server


def _server(settings: SeriesSettings) -> Server:
    if settings.backend == "influxdb":
        return InfluxDb(settings)
    if settings.backend == "victoriametrics":
        return VictoriaMetrics(settings)
    try:
        from fieldloom_cloud.timeseries.influxdb2 import InfluxDb2  # noqa: PLC0415 - only who uses it installs it
    except ModuleNotFoundError:
        way_out = "install fieldloom-cloud[influxdb2]"
        raise StartFailed("series: influxdb2 needs the package influxdb-client", way_out) from None
    return InfluxDb2(settings)
