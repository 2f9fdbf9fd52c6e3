"""Keeps the cloud's own broker to the newest list of revoked certificates, and shows revoked gateways out. (P3)"""

import asyncio
from pathlib import Path

from fieldloom_cloud.database import Database
from fieldloom_cloud.pki import service as pki
from fieldloom_cloud.pki.authority import Authority
from fieldloom_runtime.door import Door
from fieldloom_runtime.tls import client_context


class Enforcement:
    """After each start it shows out every gateway on the list once, since a crash may have come in between.

    Of several processes beside one broker one alone runs it: two that take over the same client id would do so in turn.
    """

    def __init__(self, database: Database, authority: Authority, door: Door) -> None:
        self._database = database
        self._authority = authority
        self._door = door
        self._new = asyncio.Event()
        self._posted = ""
        self._seen: set[str] = set()

    def wake(self) -> None:
        """Take note that a certificate was revoked."""
        self._new.set()

    async def run(self) -> None:
        """Keep the broker to the lists that are made, until cancelled."""
        self._posted = ""
        self._new.set()
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._new.wait()
                self._new.clear()
                for gateway, hold in (await self._post()).items():
                    tasks.create_task(self._door.expel(gateway, hold=hold), name=f"expel-{gateway}")

    async def _post(self) -> dict[str, bool]:
        """Post the newest list, and return the gateways that are to be shown out, True for those to keep out."""
        async with self._database.transaction() as session:
            crl = await pki.current_list(session, self._authority)
            revoked = await pki.revoked_gateways(session)
            fresh = {revoked[serial] for serial in revoked.keys() - self._seen}
            expelled = {gateway: not await pki.has_valid(session, gateway) for gateway in fresh}
        self._seen |= revoked.keys()
        if crl != self._posted:
            await self._door.post(crl.encode())
            self._posted = crl
        return expelled


def open_enforcement(data: Path, identity: str, port: int, database: Database, authority: Authority) -> Enforcement:
    """Return the enforcement of a cloud's data folder. Raises StartFailed."""
    keys = data / "pki"
    tls = client_context(authority.ca, keys / f"{identity}.pem", keys / f"{identity}.key")
    return Enforcement(database, authority, Door(data / "broker", port, tls))
