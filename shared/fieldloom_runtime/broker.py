"""The configuration of a mosquitto that a process writes and its host runs: mutual TLS, CN as identity (decision 7).

mosquitto drops to its own user before it reads keys and rights, so the user that wrote them is named in the file.
"""

import os
import pwd
import signal
from dataclasses import dataclass, field
from pathlib import Path

from fieldloom_contract.limits import BROKER_PACKET_BYTES
from fieldloom_runtime import files

CONFIGURATION = "mosquitto.conf"
RIGHTS_FILE = "rights.acl"
PID_FILE = "mosquitto.pid"


@dataclass(frozen=True)
class Listener:
    """A port that takes only clients with a certificate of `ca`."""

    host: str
    port: int
    ca: Path
    cert: Path
    key: Path
    tls_1_2: bool = False
    """Boards speak no newer one."""
    client_id_is_identity: bool = False
    """Ends a valid device's connecting with another's client id."""
    crl: Path | None = None
    """Who is revoked, as the CA's list says; without the file the broker does not start."""


@dataclass(frozen=True)
class Rights:
    """Who may do what; patterns hold for every identity and may name it by %u."""

    patterns: tuple[tuple[str, str], ...] = ()
    """(read | write, topic)"""
    users: dict[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    """(read | write | readwrite, topic) by identity"""


def write(folder: Path, listeners: list[Listener], rights: Rights) -> Path:
    """Write mosquitto.conf and its rights into a folder, 0600 each, and return the path of mosquitto.conf."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    acl = folder / RIGHTS_FILE
    files.write(acl, _rights(rights))
    configuration = folder / CONFIGURATION
    files.write(configuration, _configuration(listeners, acl, folder / PID_FILE))
    return configuration


def renew_rights(folder: Path, rights: Rights) -> bool | None:
    """Write the rights of a folder's broker anew if they differ, as after an upgrade.

    Return None where they do not, else whether the broker was told; one that does not run reads them at its start.
    """
    acl = folder / RIGHTS_FILE
    if not folder.is_dir() or (acl.exists() and acl.read_text() == _rights(rights)):
        return None
    files.write(acl, _rights(rights))
    pid = process_of(folder)
    try:
        return pid is not None and reload(pid)
    except PermissionError:
        return False


def process_of(folder: Path) -> int | None:
    """Return the process of a folder's broker, None while none runs; another program that has its number is none."""
    try:
        pid = int((folder / PID_FILE).read_text())
        return pid if Path(f"/proc/{pid}/comm").read_text().strip() == "mosquitto" else None
    except (OSError, ValueError):
        return None


def reload(pid: int) -> bool:
    """Have a broker read its lists and rights anew. False for one that is starting, which a SIGHUP would end."""
    try:
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        if not int(status["SigCgt"], 16) >> (signal.SIGHUP - 1) & 1:
            return False
        os.kill(pid, signal.SIGHUP)
    except (ProcessLookupError, FileNotFoundError):
        return False
    return True


def _configuration(listeners: list[Listener], acl: Path, pid_file: Path) -> str:
    lines = [
        "per_listener_settings false",
        "allow_anonymous false",
        f"acl_file {acl}",
        f"pid_file {pid_file}",
        "persistence false",
        "log_dest stderr",
        "log_type error",
        "log_type warning",
        "set_tcp_nodelay true",
        # QoS 0 below our own acknowledgement: what a slow reader misses is sent again.
        "queue_qos0_messages false",
        f"max_packet_size {BROKER_PACKET_BYTES}",
    ]
    if os.geteuid() == 0:
        lines.append(f"user {pwd.getpwuid(0).pw_name}")
    for listener in listeners:
        lines += _listener(listener)
    return "\n".join(lines) + "\n"


def _listener(listener: Listener) -> list[str]:
    lines = [
        f"listener {listener.port} {listener.host}",
        f"cafile {listener.ca}",
        f"certfile {listener.cert}",
        f"keyfile {listener.key}",
        "require_certificate true",
        "use_identity_as_username true",
    ]
    if listener.tls_1_2:
        # mosquitto's tls_version is the only version from 2.0 on; without it 1.2 and 1.3 are both taken.
        lines.append("ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384")
    else:
        lines.append("tls_version tlsv1.3")
    if listener.crl is not None:
        lines.append(f"crlfile {listener.crl}")
    if listener.client_id_is_identity:
        lines.append("use_username_as_clientid true")
    return lines


def _rights(rights: Rights) -> str:
    lines = [f"pattern {verb} {topic}" for verb, topic in rights.patterns]
    for user, granted in rights.users.items():
        lines += ["", f"user {user}", *(f"topic {verb} {topic}" for verb, topic in granted)]
    return "\n".join(lines) + "\n"
