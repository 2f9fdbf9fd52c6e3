"""The options of `fieldloom gateway init` that begin a cluster, and join one. (D3)"""

import secrets
from pathlib import Path

from fieldloom_contract.errors import Rejected
from fieldloom_gateway.cluster.calling import NotLetIn, OutOfReach
from fieldloom_gateway.cluster.joining import SECRET_FILE, join, joining_context
from fieldloom_gateway.cluster.membership.records import check_address
from fieldloom_gateway.cluster.node import FOLDER, own_software
from fieldloom_gateway.cluster.ticket import read
from fieldloom_gateway.fingerprint import fingerprint
from fieldloom_gateway.settings import FILE, ClusterSettings, Settings, load
from fieldloom_runtime import files
from fieldloom_runtime.errors import StartFailed

SECRET_BYTES = 32


def clustered(settings: Settings, data: Path, address: str, admission_port: int, token: str) -> Settings:
    """Return settings with the cluster that the options name, or else that of the earlier file. Raises StartFailed."""
    earlier = load(data).cluster if (data / FILE).exists() else None
    if not address:
        if token:
            raise StartFailed("--join needs --cluster", "say by it where the others reach this gateway, as HOST:PORT")
        return settings.model_copy(update={"cluster": earlier})
    try:
        check_address(address)
    except Rejected as error:
        raise StartFailed(f"--cluster: {error.reason}", "correct it") from None
    if earlier is not None and not token:  # a token is for one that was removed, too
        raise StartFailed(f"{settings.id} belongs to a cluster already", "leave it first by `fieldloom cluster leave`")
    given = _joined(settings, data, address, token) if token else _begun(data, address)
    return settings.model_copy(update={"cluster": given.model_copy(update={"admission_port": admission_port})})


def _begun(data: Path, address: str) -> ClusterSettings:
    path = data.resolve() / FOLDER / SECRET_FILE
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    files.write(path, secrets.token_hex(SECRET_BYTES) + "\n")
    return ClusterSettings(address=address, secret=path)


def _joined(settings: Settings, data: Path, address: str, token: str) -> ClusterSettings:
    try:
        ticket = read(token)
    except Rejected as error:
        raise StartFailed(f"--join: the token {error.reason}", "have one made by `fieldloom cluster invite`") from None
    if ticket.member != settings.id:
        raise StartFailed(f"the token lets {ticket.member} in, not {settings.id}", "have one made for this gateway")
    if ticket.ca != fingerprint(settings.ca):
        raise StartFailed("the token is of a site with another CA", "set --ca to the CA of the cluster's gateways")
    tls = joining_context(settings.ca, settings.cert, settings.key)
    try:
        return join(ticket, address, own_software(), data, tls)
    except NotLetIn as error:
        raise StartFailed(f"not let in ({error})", "have a new token made by `fieldloom cluster invite`") from None
    except OutOfReach as error:
        raise StartFailed(f"no gateway of the cluster lets {settings.id} in now ({error})", "try again") from None
