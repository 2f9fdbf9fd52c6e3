"""Release keys and signed releases by the real command: what is made, and what is refused. (F5, F6, A17)"""

import hashlib
import json
import subprocess
import zipfile

import pytest

from fieldloom_contract import documents
from fieldloom_contract.release import is_signed, parse_key, parse_root
from fixtures.micropython import run_on_micropython
from fixtures.processes import FIELDLOOM


def fieldloom(*arguments, code=0):
    """Run the command and return what it said: JSON, or a line on standard error if it has to fail."""
    command = [FIELDLOOM, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stderr if code else json.loads(done.stdout)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    fieldloom("release-key", "root", "--out", folder / "root", "--json")
    fieldloom("release-key", "new", "--root", folder / "root", "--serial", 3, "--out", folder / "key", "--json")
    return folder


@pytest.fixture(scope="module")
def built(keys):
    return fieldloom("device", "build", *told(keys, "1.4.0"), "--floor", "1.2.0", "--out", keys / "releases", "--json")


def told(keys, version, board="esp32-generic"):
    return ("--board", board, "--version", version, "--key", keys / "key")


def read(folder, name):
    return (folder / name).read_bytes()


def digest(content):
    return hashlib.sha256(content).digest()


def test_a_release_is_signed_by_its_key_and_that_by_the_root(keys, built):
    folder = keys / "releases" / "esp32-generic-1.4.0"

    root, key = parse_root(read(keys / "root", "root.pub")), parse_key(read(folder, "key"))
    manifest = documents.parse_manifest(read(folder, "manifest"))

    assert is_signed(root, digest(read(folder, "key")), read(folder, "key.sig"))
    assert is_signed(key.modulus, digest(read(folder, "manifest")), read(folder, "manifest.sig"))
    assert key.serial == 3
    assert manifest.head[:3] == ("esp32-generic", (1, 4, 0), "6.3")
    assert manifest.head.floor == (1, 2, 0)
    assert (built["release"], built["files"]) == ("esp32-generic-1.4.0", len(manifest.entries))


def test_its_manifest_names_every_file_of_a_slot_and_nothing_else(keys, built):
    folder = keys / "releases" / "esp32-generic-1.4.0"
    entries = documents.parse_manifest(read(folder, "manifest")).entries

    files = {str(path.relative_to(folder / "files")) for path in (folder / "files").rglob("*") if path.is_file()}

    assert {entry.path for entry in entries} == files
    assert {"lib/fieldloom_agent/agent.mpy", "lib/umqtt/simple.mpy", "release.json"} < files
    for entry in entries:
        content = read(folder / "files", entry.path)
        assert (digest(content).hex(), len(content)) == (entry.sha256, entry.size)
        assert content[:2] == b"M\x06" or not entry.path.endswith(".mpy")
    assert json.loads(read(folder / "files", "release.json"))["version"] == "1.4.0"


def test_the_zip_is_the_folder_and_the_same_sources_make_the_same_files(keys, built):
    folder = keys / "releases" / "esp32-generic-1.4.0"

    again = fieldloom("device", "build", *told(keys, "1.4.0"), "--out", keys / "again", "--json")

    with zipfile.ZipFile(built["zip"]) as one, zipfile.ZipFile(again["zip"]) as other:
        assert set(one.namelist()) == {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        assert all(one.read(name) == read(folder, name) for name in one.namelist())
        same = [name for name in one.namelist() if one.read(name) == other.read(name)]
        assert set(one.namelist()) - set(same) <= {"manifest", "manifest.sig"}  # which tell when they expire, and 1.2.0


def test_an_image_for_the_rom_holds_what_a_slot_does(keys, built, tmp_path):
    out = tmp_path / "fieldloom.romfs"

    told = fieldloom("device", "rom", "--version", "1.4.0", "--out", out, "--json")
    said = run_on_micropython(
        "import hashlib, json, os, vfs\n"
        "with open(sys.argv[1], 'rb') as file:\n"
        "    vfs.mount(vfs.VfsRom(file.read()), '/rom')\n"
        "def look(folder):\n"
        "    for entry in os.ilistdir(folder):\n"
        "        path = folder + '/' + entry[0]\n"
        "        if entry[1] == 0x4000:\n"
        "            yield from look(path)\n"
        "        else:\n"
        "            with open(path, 'rb') as file:\n"
        "                yield path[len('/rom/'):], hashlib.sha256(file.read()).digest().hex()\n"
        "print(json.dumps(dict(look('/rom'))))\n",
        str(out),
    )

    manifest = documents.parse_manifest(read(keys / "releases" / "esp32-generic-1.4.0", "manifest"))
    assert json.loads(said) == {entry.path: entry.sha256 for entry in manifest.entries}
    assert (told["files"], told["bytes"]) == (len(manifest.entries), out.stat().st_size)
    assert told["mpremote"] == f"mpremote romfs deploy {out}"


def test_the_bill_of_materials_names_every_file_umqtt_and_micropython(keys, built):
    folder = keys / "releases" / "esp32-generic-1.4.0"

    bill = json.loads(read(folder, "sbom.cdx.json"))

    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    assert bill["metadata"]["component"]["version"] == "1.4.0"
    by_name = {component["name"]: component for component in bill["components"]}
    for entry in documents.parse_manifest(read(folder, "manifest")).entries:
        assert by_name[entry.path]["hashes"] == [{"alg": "SHA-256", "content": entry.sha256}]
    assert by_name["micropython-umqtt.simple"]["purl"] == "pkg:pypi/micropython-umqtt.simple@1.3.4"
    assert by_name["micropython"]["type"] == "platform"
    references = {component["bom-ref"] for component in (*bill["components"], bill["metadata"]["component"])}
    assert len(references) == len(bill["components"]) + 1
    assert {bill["dependencies"][0]["ref"], *bill["dependencies"][0]["dependsOn"]} == references


def test_keys_are_their_owners_alone_and_never_written_over(keys):
    private = [keys / "root" / "root.pem", keys / "key" / "key.pem"]

    root = fieldloom("release-key", "root", "--out", keys / "root", code=1)
    key = ("release-key", "new", "--root", keys / "root", "--serial", 4, "--out", keys / "key")

    assert [path.stat().st_mode & 0o777 for path in private] == [0o600, 0o600]
    assert "a key is never written over" in root
    assert "a key is never written over" in fieldloom(*key, code=1)


def test_a_key_is_shown_with_whether_a_root_believes_it(keys, tmp_path):
    fieldloom("release-key", "root", "--out", tmp_path / "other", "--json")
    show = ("release-key", "show", "--json", "--key", keys / "key", "--root")

    assert fieldloom(*show, keys / "root" / "root.pub")["trusted"] is True
    assert fieldloom(*show, tmp_path / "other" / "root.pub")["trusted"] is False


@pytest.mark.parametrize(
    ("change", "code", "reason"),
    [
        ({"--board": "esp33"}, 2, "board: esp33 is neither a TOML file nor one of"),
        ({"--version": "1.4"}, 2, "version: must be three numbers, as 1.4.0"),
        ({"--floor": "1.5.0"}, 1, "--floor 1.5.0 is above the release's own version"),
        ({"--key": "nowhere"}, 1, "`fieldloom release-key --help` says how keys are made"),
    ],
)
def test_what_no_board_would_take_is_not_built(keys, tmp_path, change, code, reason):
    options = {"--board": "esp32-generic", "--version": "1.4.0", "--key": keys / "key", "--out": tmp_path} | change

    said = fieldloom("device", "build", *(part for option in options.items() for part in option), code=code)

    assert reason in said
    assert list(tmp_path.iterdir()) == []


def test_what_an_id_names_never_changes(keys, built):
    said = fieldloom("device", "build", *told(keys, "1.4.0"), "--out", keys / "releases", code=1)

    assert "give another --version" in said
