"""A store of time series that can't be used is told in one line, with the way out. (S1, V3)"""

import json

import pytest
from pydantic import ValidationError

from fieldloom_cloud.settings import SeriesSettings, load
from fieldloom_cloud.timeseries.opening import open_series
from fieldloom_runtime.errors import StartFailed
from fixtures.commands import fieldloom
from fixtures.processes import free_port
from fixtures.series_servers import VictoriaServer

VICTORIA = {"backend": "victoriametrics", "url": "http://127.0.0.1:1"}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"backend": "influxdb"}, "influxdb needs a url"),
        ({"url": "http://127.0.0.1:8086"}, "duckdb takes no url"),
        ({**VICTORIA, "url": "http://series.example:8428"}, "plain HTTP is for loopback alone"),
        ({**VICTORIA, "url": "127.0.0.1:8428"}, "url must begin with https://HOST"),
        ({**VICTORIA, "url": "https://me:word@series.example"}, "must hold no user or password"),
        ({**VICTORIA, "user": "me"}, "a user needs a token_file"),
        ({**VICTORIA, "backend": "influxdb2"}, "influxdb2 needs an organisation"),
        ({**VICTORIA, "backend": "mysql"}, "Input should be 'duckdb', 'influxdb', 'influxdb2' or 'victoriametrics'"),
    ],
)
def test_settings_that_make_no_sense_name_the_reason(fields, reason):
    with pytest.raises(ValidationError, match=reason):
        SeriesSettings(**fields)


def test_a_server_that_is_not_there(tmp_path):
    for backend in ("influxdb", "victoriametrics"):
        settings = SeriesSettings(backend=backend, url=f"http://127.0.0.1:{free_port()}")
        with pytest.raises(StartFailed, match=r"can't be reached .* start it, or correct series in cloud.json"):
            open_series(tmp_path, settings)


def test_a_token_that_others_can_read(tmp_path):
    token = tmp_path / "token"
    token.write_text("word")
    token.chmod(0o644)

    with pytest.raises(StartFailed, match="can be read by others: chmod 600"):
        open_series(tmp_path, SeriesSettings(**VICTORIA, token_file=token))


def test_a_ca_that_is_none(tmp_path):
    with pytest.raises(StartFailed, match="is missing"):
        open_series(tmp_path, SeriesSettings(**VICTORIA, ca=tmp_path / "ca.pem"))


def test_a_victoriametrics_that_would_keep_points_twice(tmp_path):
    server = VictoriaServer(tmp_path / "victoria", "-retentionPeriod=1y").start()

    with pytest.raises(StartFailed, match=r"start VictoriaMetrics with -dedup\.minScrapeInterval=1ms"):
        open_series(tmp_path, server.settings())
    server.stop()


def test_init_writes_the_choice_down_and_refuses_a_wrong_one(tmp_path, capsys):
    wrong = ("--series", "influxdb", "--series-url", "http://db.example:8086")
    with pytest.raises(AssertionError):
        fieldloom("cloud", "init", "--data", tmp_path / "a", *wrong)
    assert capsys.readouterr().err.startswith("fieldloom: series: url must begin with https://")

    fieldloom("cloud", "init", "--data", tmp_path / "b", "--series", "influxdb", "--series-url", "https://db.example")
    assert load(tmp_path / "b").series == SeriesSettings(backend="influxdb", url="https://db.example")
    assert json.loads((tmp_path / "b" / "cloud.json").read_text())["series"]["database"] == "fieldloom"
