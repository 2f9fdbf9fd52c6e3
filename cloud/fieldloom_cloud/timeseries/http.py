"""How a server of time series is asked over HTTP: its address, its TLS, who we are, and what went wrong."""

from pathlib import Path
from typing import Any

import httpx2

from fieldloom_cloud.settings import SeriesSettings
from fieldloom_cloud.timeseries.ports import Refused, Unreachable
from fieldloom_runtime import files
from fieldloom_runtime.errors import StartFailed
from fieldloom_runtime.tls import client_context

TIMEOUT_S = 60.0
REFUSALS = (400, 413, 422)
"""Answers that mean what was sent; another failure, as a database that is gone, means all that is sent."""
WAY_OUT = "start it, or correct series in cloud.json"


def secret_of(settings: SeriesSettings) -> str | None:
    """Return the token or password. Raises StartFailed, also where others can read its file."""
    return None if settings.token_file is None else files.read_secret(settings.token_file)


class Http:
    """One server; any thread may ask."""

    def __init__(self, settings: SeriesSettings) -> None:
        """Take settings. Raises StartFailed for a CA or a token that can't be used."""
        self.url = str(settings.url).rstrip("/")
        secret, auth, headers = secret_of(settings), None, {}
        if secret is not None and settings.user is not None:
            auth = httpx2.BasicAuth(settings.user, secret)
        elif secret is not None:
            headers = {"Authorization": f"{'Token' if settings.backend == 'influxdb2' else 'Bearer'} {secret}"}
        verify = True if settings.ca is None else client_context(Path(settings.ca), is_ours=False)
        self._client = httpx2.Client(base_url=self.url, auth=auth, headers=headers, verify=verify, timeout=TIMEOUT_S)

    def ask(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """Return a server's answer, which is a good one. Raises Unreachable and Refused."""
        try:
            answer = self._client.request(method, path, **options)
        except httpx2.HTTPError as error:
            raise Unreachable(f"{self.url} can't be reached ({error})") from error
        if answer.status_code in REFUSALS:
            raise Refused(_first_line(answer))
        if not answer.is_success:
            raise Unreachable(f"{self.url} answers {answer.status_code}: {_first_line(answer)}")
        return answer

    def check(self, path: str) -> httpx2.Response:
        """Return the answer to a first question. Raises StartFailed."""
        try:
            return self.ask("GET", path)
        except (Unreachable, Refused) as error:
            raise StartFailed(f"series: {error}", WAY_OUT) from None

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()


def _first_line(answer: httpx2.Response) -> str:
    lines = answer.text.strip().splitlines()
    return lines[0][:300] if lines else answer.reason_phrase
