"""InfluxDB 2.x and 3.x: points by influxdb-client, questions in InfluxQL as of 1.x, which both serve. (S1, ADR 37)

A bucket named `DATABASE/TIER` is what their InfluxQL calls the policy TIER of DATABASE, so all questions stay those of
1.x. Neither can be installed here: writing is proven against VictoriaMetrics, which has the same way in, the rest by
what InfluxData documents.
"""

from typing import Any

from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.domain.bucket_retention_rules import BucketRetentionRules
from influxdb_client.rest import ApiException
from urllib3.exceptions import HTTPError

from fieldloom_cloud.settings import SeriesSettings
from fieldloom_cloud.timeseries.http import REFUSALS, TIMEOUT_S, WAY_OUT, secret_of
from fieldloom_cloud.timeseries.influxdb import InfluxDb
from fieldloom_cloud.timeseries.measures import measured
from fieldloom_cloud.timeseries.ports import Kept, Receipt, Refused, SeriesError, Tier, Unreachable
from fieldloom_runtime.errors import StartFailed


class InfluxDb2(InfluxDb):
    """Two buckets of an organisation."""

    name = "influxdb2"

    def __init__(self, settings: SeriesSettings) -> None:
        """Take settings. Raises StartFailed for a CA or a token that can't be used."""
        super().__init__(settings)
        self._client = InfluxDBClient(
            str(settings.url),
            secret_of(settings) or "",
            org=str(settings.organisation),
            timeout=int(TIMEOUT_S * 1000),
            ssl_ca_cert=None if settings.ca is None else str(settings.ca),
        )
        self._writing = self._client.write_api(write_options=SYNCHRONOUS)

    def open(self) -> None:
        """See that the server answers, and make the buckets if they are missing. Raises StartFailed."""
        self._http.check("/ping")
        try:
            for tier in Tier:
                if self._bucket(tier) is None:
                    _called(self._client.buckets_api().create_bucket, bucket_name=self._name_of(tier))
        except SeriesError as error:
            raise StartFailed(f"series: {error}", WAY_OUT) from None

    @measured("write")
    def send(self, text: bytes, tier: Tier) -> Receipt:
        """Take lines; the answer comes after the sync of the log. Raises SeriesError."""
        _called(self._writing.write, bucket=self._name_of(tier), record=text, write_precision="ms")
        return Receipt("", 0)

    @measured("keep")
    def keep(self, raw_ms: int | None, rolled_ms: int | None, now: int) -> Kept:  # noqa: ARG002 - the server has a clock
        """Have the server forget whole shards that are older than that. Raises SeriesError."""
        for tier, kept_ms in ((Tier.RAW, raw_ms), (Tier.ROLLED, rolled_ms)):
            bucket = self._bucket(tier)
            if bucket is not None:
                seconds = 0 if kept_ms is None else kept_ms // 1000
                rule = BucketRetentionRules(type="expire", every_seconds=seconds)  # type: ignore[no-untyped-call]
                bucket.retention_rules = [rule]
                _called(self._client.buckets_api().update_bucket, bucket=bucket)
        return Kept(0, None)

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()  # type: ignore[no-untyped-call]
        super().close()

    def _name_of(self, tier: Tier) -> str:
        return f"{self._database}/{tier.value}"

    def _bucket(self, tier: Tier) -> Any:
        return _called(self._client.buckets_api().find_bucket_by_name, bucket_name=self._name_of(tier))


def _called(call: Any, **arguments: Any) -> Any:
    """Return what the client's call returns. Raises Unreachable and Refused."""
    try:
        return call(**arguments)
    except ApiException as error:
        if error.status in REFUSALS:
            raise Refused(str(error.message or error.reason)) from error
        raise Unreachable(f"InfluxDB answers {error.status}: {error.reason}") from error
    except HTTPError as error:
        raise Unreachable(f"InfluxDB can't be reached ({error})") from error
