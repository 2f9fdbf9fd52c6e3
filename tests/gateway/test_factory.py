"""Adapters from `adapters.yaml`: a fault names its field, and a protocol of others is an entry point. (C6)"""

import sys

import pytest

from fieldloom_gateway.adapters import factory
from fieldloom_runtime.errors import StartFailed
from fixtures.certificates import TestAuthority
from gateway.bench import Bench, until

MQTT = "{protocol: mqtt, host: broker, port: 8883, client_id: gw, ca: %s}"

THIRD_PARTY = """
from fieldloom_gateway.adapters.base import AdapterMetrics, AdapterSettings, Kind, Message
from fieldloom_gateway.adapters.inbox import Inbox


class PigeonSettings(AdapterSettings):
    loft: str


class PigeonAdapter:
    def __init__(self, settings, site):
        self.metrics, self.is_connected, self.loft = AdapterMetrics(), False, settings.loft
        self.inbox = Inbox()
        self.receive, self.pending = self.inbox.receive, self.inbox.pending

    async def subscribe(self, topics):
        self.topics = topics

    async def connect(self):
        self.inbox.put(Message("fl/v1/d/" + self.loft + "/telemetry", b'{"values": {"wind": 3}}'))
        self.is_connected = True

    async def publish(self, topic, payload, qos=0):
        return False

    async def close(self):
        self.is_connected = False


KIND = Kind(PigeonSettings, PigeonAdapter)
"""


def write(folder, *adapters):
    lines = ["adapters:", *(f"  - {one}" for one in adapters)]
    (folder / "adapters.yaml").write_text("\n".join(lines) + "\n")


def refusal(folder):
    with pytest.raises(StartFailed) as refused:
        factory.load(folder)
    assert "\n" not in str(refused.value)
    return str(refused.value).removeprefix(f"{folder / 'adapters.yaml'}: ").removesuffix(": correct the file")


def test_without_a_file_there_is_the_broker_alone(tmp_path):
    assert factory.load(tmp_path) == []


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("{protocol: pigeon}", "adapters.1.protocol: 'pigeon' is not known, only "),
        ("{port: 1}", "adapters.1.protocol: is missing: one of "),
        ("{protocol: [mqtt]}", "adapters.1.protocol: ['mqtt'] is not known, only "),
        ("{protocol: mqtt, host: b, client_id: gw, ca: /dev/null}", "adapters.1.port: Field required"),
        (MQTT.replace("8883", "99999") % __file__, "adapters.1.port: Input should be less than or equal to 65535"),
        (MQTT % "/no/such/file", "adapters.1.ca: Path does not point to a file"),
        (MQTT.replace("}", ", colour: red}") % __file__, "adapters.1.colour: Extra inputs are not permitted"),
        (MQTT % __file__, "adapters.1.name: mqtt is another adapter's: give each a name of its own"),
        (MQTT.replace("}", ", name: broker}") % __file__, "adapters.1.name: broker is another adapter's"),
        ("3", "adapters.1: Input should be a valid dictionary"),
    ],
)
def test_a_fault_is_one_line_that_names_the_field(tmp_path, entry, told):
    write(tmp_path, MQTT % __file__, entry)

    assert refusal(tmp_path).startswith(told)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "the file: Input should be a valid dictionary"),
        ("adapters:\n", "adapters: Input should be a valid list"),
        ("adapter: []\n", "adapters: Field required"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path, text, told):
    (tmp_path / "adapters.yaml").write_text(text)

    assert refusal(tmp_path).startswith(told)


def test_what_is_no_yaml_is_told_with_its_line(tmp_path):
    (tmp_path / "adapters.yaml").write_text("adapters:\n  - {protocol: mqtt\n")

    assert "line 3" in refusal(tmp_path)


@pytest.fixture
def third_party(tmp_path, monkeypatch):
    """A package of somebody else's, installed beside ours."""
    folder = tmp_path / "site-packages"
    (folder / "pigeon-1.0.dist-info").mkdir(parents=True)
    (folder / "pigeon-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: pigeon\nVersion: 1.0\n")
    points = "[fieldloom.adapters]\npigeon = pigeon_adapter:KIND\nlame = pigeon_adapter:NOTHING\nodd = json:dumps\n"
    (folder / "pigeon-1.0.dist-info" / "entry_points.txt").write_text(points)
    (folder / "pigeon_adapter.py").write_text(THIRD_PARTY)
    monkeypatch.syspath_prepend(str(folder))
    yield
    sys.modules.pop("pigeon_adapter", None)


def test_an_adapter_of_others_is_an_entry_point(tmp_path, third_party):
    write(tmp_path, "{protocol: pigeon, loft: roof}", "{protocol: pigeon, loft: yard, name: second}")

    first, second = factory.load(tmp_path)

    assert (first.name, second.name) == ("pigeon", "second")
    assert (first.settings.loft, second.settings.loft) == ("roof", "yard")


async def test_what_an_adapter_of_others_brings_is_taken(tmp_path, third_party):
    write(tmp_path, "{protocol: pigeon, loft: roof}")
    bench = Bench(tmp_path)
    site = bench.site(TestAuthority(tmp_path / "pki"))
    bench.kept += [one.build(site) for one in factory.load(tmp_path)]

    async with bench.running():
        await until(bench.records)
        told = bench.records()

    assert [(one["device"], one["values"]) for one in told] == [("roof", {"wind": 3})]


def test_what_others_bring_and_is_none_is_told_by_name(tmp_path, third_party):
    write(tmp_path, "{protocol: lame}")
    assert "adapters.0.protocol: lame can't be loaded" in refusal(tmp_path)
    write(tmp_path, "{protocol: odd}")
    assert refusal(tmp_path) == "adapters.0.protocol: odd leads to no adapter (json:dumps)"
