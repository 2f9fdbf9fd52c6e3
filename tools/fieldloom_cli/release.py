"""`fieldloom release`: what `fieldloom device build` has made, in the cloud for the fleet. (F5)"""

import io
import sys
import zipfile
from pathlib import Path
from typing import Annotated, Any

import typer

from fieldloom_cli.api import Api
from fieldloom_cli.errors import CommandFailed
from fieldloom_cli.options import Data, Json
from fieldloom_cli.output import show_json, show_table

COLUMNS = ("id", "board", "version", "signature", "expires", "created")
FIELDS = (*COLUMNS, "mpy", "floor", "key_serial")

app = typer.Typer(no_args_is_help=True, help="Releases of the firmware: upload, list, show and delete them.")

Id = Annotated[str, typer.Argument(metavar="ID", help="BOARD-VERSION, as esp32-generic-1.4.0.")]


@app.command(epilog="Example: fieldloom release upload esp32-generic-1.4.0.zip")
def upload(
    release: Annotated[Path, typer.Argument(exists=True, help="The .zip that `device build` has made, or its folder.")],
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Give a release to the cloud, which holds it against its manifest; it stays on this side if anything is wrong."""
    archive = _zipped(release) if release.is_dir() else release.read_bytes()
    print(f"uploading {len(archive) / 1024:.0f} KiB", file=sys.stderr)
    headers = {"Content-Type": "application/zip"}
    _show(Api(data).call("POST", "/releases", content=archive, headers=headers), as_json=as_json)


@app.command("list", epilog="Example: fieldloom release list --board esp32-generic --json")
def list_releases(
    data: Data = None,
    board: Annotated[str | None, typer.Option(help="Of one kind of board.")] = None,
    as_json: Json = False,
) -> None:
    """List the releases, the newest upload first."""
    found = list(Api(data).pages("/releases", **({"board": board} if board else {})))
    if as_json:
        show_json({"items": found, "next": None})
        return
    show_table([name.upper() for name in COLUMNS], ([one[name] for name in COLUMNS] for one in found))


@app.command(epilog="Example: fieldloom release show esp32-generic-1.4.0 --json")
def show(release: Id, data: Data = None, as_json: Json = False) -> None:
    """Show a release and its files."""
    _show(Api(data).call("GET", f"/releases/{release}"), as_json=as_json)


@app.command(epilog="Example: fieldloom release sbom esp32-generic-1.4.0 > sbom.cdx.json")
def sbom(release: Id, data: Data = None) -> None:
    """Print what a release is made of, as a CycloneDX document."""
    show_json(Api(data).call("GET", f"/releases/{release}/sbom"))


@app.command(epilog="Example: fieldloom release delete esp32-generic-1.3.0")
def delete(release: Id, data: Data = None, as_json: Json = False) -> None:
    """Have the cloud forget a release; one that a device is being updated to stays."""
    Api(data).call("DELETE", f"/releases/{release}")
    if as_json:
        show_json({"id": release, "deleted": True})
        return
    print(f"{release} is deleted; gateways and boards that have it keep it.")


def _zipped(folder: Path) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                packed.write(path, path.relative_to(folder).as_posix())
    if not (folder / "manifest").is_file():
        raise CommandFailed(f"{folder} holds no release (manifest is missing): make one by `fieldloom device build`")
    return archive.getvalue()


def _show(release: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(release)
        return
    size = sum(file["size"] for file in release["files"])
    rows = {**{name: release[name] for name in FIELDS}, "files": len(release["files"]), "bytes": size}
    show_table(["FIELD", "VALUE"], rows.items())
