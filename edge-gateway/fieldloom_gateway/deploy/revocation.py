"""Keeps a gateway's broker to the newest list of revoked certificates, from its first start on. (P3)"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from fieldloom_gateway.ingest.revocations import Expelled, Revocations
from fieldloom_runtime import files
from fieldloom_runtime.door import LIST, Door
from fieldloom_runtime.errors import StartFailed

log = structlog.get_logger()


def write_first(folder: Path, crl: Path) -> None:
    """Write the list that a broker starts with, unless a newer one is there. Raises StartFailed."""
    path = folder / LIST
    try:
        content = crl.read_bytes()
        fresh = x509.load_pem_x509_crl(content)
        if path.exists() and _number(x509.load_pem_x509_crl(path.read_bytes())) >= _number(fresh):
            return
    except (OSError, ValueError, x509.ExtensionNotFound) as error:
        raise StartFailed(f"{crl} is no list of revoked certificates ({error})", "get the cloud's /crl.pem") from None
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    files.write(path, content)


class Enforcement:
    """What came down with the stream (`new_list` says so) is done at the broker, and again after a crash in between."""

    def __init__(
        self, revocations: Revocations, writer: Executor, door: Door, ca: Path, new_list: asyncio.Event
    ) -> None:
        self._revocations = revocations
        self._writer = writer
        self._door = door
        self._ca = ca
        self._new = new_list
        self._new.set()  # what an earlier process has left
        self._posted: bytes | None = None
        self._leaving: set[str] = set()

    async def run(self) -> None:
        """Keep the broker to the lists that come, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._new.wait()
                self._new.clear()
                due = await self._in_store(self._revocations.due)
                if due.crl is not None and due.crl != self._posted:
                    await self._post(due.crl)
                for one in due.expelled:
                    if one.identity not in self._leaving:
                        self._leaving.add(one.identity)
                        tasks.create_task(self._expel(one), name=f"expel-{one.identity}")

    async def _post(self, der: bytes) -> None:
        """Post a list that a CA of ours has signed; any other would lock everybody out."""
        try:
            crl = x509.load_der_x509_crl(der)
            signers = [one.public_key() for one in x509.load_pem_x509_certificates(self._ca.read_bytes())]
        except (ValueError, OSError) as error:
            log.error("revocation_list_unreadable", error=str(error))  # noqa: TRY400 - the trace would say nothing more
            return
        if not any(crl.is_signature_valid(key) for key in signers if isinstance(key, ec.EllipticCurvePublicKey)):
            log.error("revocation_list_of_a_stranger", issuer=crl.issuer.rfc4514_string())
            return
        await self._door.post(crl.public_bytes(Encoding.PEM))
        self._posted = der

    async def _expel(self, one: Expelled) -> None:
        await self._door.expel(one.identity, hold=one.hold)
        await self._in_store(self._revocations.done, one)
        self._leaving.discard(one.identity)
        self._new.set()  # it may have been revoked again meanwhile

    async def _in_store(self, call: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._writer, call, *arguments)


def _number(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
