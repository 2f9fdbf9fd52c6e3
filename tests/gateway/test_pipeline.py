"""Chains and dead letters of a real gateway process, over its own interface and the command. (T1, T2, T4, T5)"""

import base64
import json
import os
import time

import httpx2
import pytest
from typer.testing import CliRunner

from fieldloom_contract import batch, messages, topics
from fieldloom_gateway.commands import app
from fieldloom_runtime.compression import inflate
from fixtures.certificates import TestAuthority
from fixtures.processes import wait_until_ready
from gateway.conftest import GATEWAY, Site, hear
from gateway.test_ingest import outbox
from gateway.test_uplink import acknowledge, cloud_client, next_payload, run_cloud_broker

BYTES_PER_S = 4096
NOW = 1_790_000_040_000  # a whole minute


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("letters")
    site = Site(folder, TestAuthority(folder / "pki"))
    settings = json.loads((site.data / "gateway.json").read_text())
    (site.data / "gateway.json").write_text(json.dumps({**settings, "uplink_bytes_per_s": BYTES_PER_S}))
    site.start()
    yield site
    site.stop()


def run(site, *arguments, code=0):
    done = CliRunner().invoke(app, [*map(str, arguments), "--data", str(site.data)])
    assert done.exit_code == code, done.output
    return done


def command(site, *arguments, code=0):
    return json.loads(run(site, "dead-letters", *arguments, "--json", code=code).stdout)


def reload(site):
    return json.loads(run(site, "transformers", "reload", "--json").stdout)


async def test_the_command_repairs_a_chain_and_replays_what_failed(site):
    file = site.data / "transformers.yaml"
    file.write_text("chains:\n  - id: twice\n    match: {device: dev-7}\n    stages:\n      - convert: {scale: 2}\n")
    assert list(reload(site)["stages"]) == ["twice.0.convert"]
    async with site.device("dev-7") as device:
        await device.subscribe("fl/v1/d/dev-7/ack")
        bad = [{"seq": seq, "ts": NOW, "values": {"t": value}} for seq, value in ((1, "warm"), (2, "hot"), (3, 4))]
        await report(device, "dev-7", *bad)

    page = command(site, "list", "--device", "dev-7", "--limit", 1)
    assert [one["seq"] for one in page["items"]] == [2]
    older = command(site, "list", "--device", "dev-7", "--cursor", page["next"])
    assert [(one["seq"], one["stage"]) for one in older["items"]] == [(1, "twice.0.convert")]
    number = older["items"][0]["number"]
    shown = json.loads(base64.b64decode(command(site, "show", number)["payload"]))
    assert shown == {"boot": 1, "seq": 1, "ts": NOW, "values": {"t": "warm"}}
    listed = run(site, "dead-letters", "list", "--device", "dev-7").stdout.splitlines()
    assert [line.split()[0] for line in listed] == [str(number + 1), str(number)]
    assert "twice.0.convert: t: 'warm' is no number" in listed[1]
    assert 'payload {"boot":1,"seq":1' in run(site, "dead-letters", "show", number).stdout
    refused = command(site, "replay", number, code=1)
    assert "'warm' is no number" in refused["items"][0]["reason"]

    file.write_text(file.read_text().replace("scale: 2", "scales: 2"))
    said = run(site, "transformers", "reload", code=1).stderr
    assert "line 5: chains[0].stages[0].convert.scales: is not known here" in said
    file.unlink()
    assert reload(site)["stages"] == {}
    assert command(site, "replay", "--all", "--device", "dev-7")["items"] == [
        {"number": number, "outcome": "taken"},
        {"number": number + 1, "outcome": "taken"},
    ]
    assert command(site, "list", "--device", "dev-7") == {"items": [], "next": None}
    assert (
        "since: Input should have timezone"
        in run(site, "dead-letters", "list", "--since", "2026-01-01T00:00:00", code=1).stderr
    )


def test_nobody_sees_or_drops_them_without_the_token(site):
    url = f"http://127.0.0.1:{site.ports['http']}/api/v1"

    for method, path in (
        ("GET", "/dead-letters"),
        ("GET", "/dead-letters/1"),
        ("POST", "/dead-letters/1/replay"),
        ("DELETE", "/dead-letters/1"),
        ("POST", "/transformers/reload"),
    ):
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            answer = httpx2.request(method, url + path, headers=headers, timeout=20)
            assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")


def test_a_letter_that_is_not_there_is_exit_code_3(site):
    said = run(site, "dead-letters", "show", 999, code=3).stderr

    assert said == "fieldloom: there is no dead letter 999 here\n"


async def report(device, name, *records):
    await device.publish(f"fl/v1/d/{name}/telemetry", messages.dumps([{"boot": 1, **record} for record in records]))
    while (await hear(device, "ack", seconds=30)).message["seq"] != records[-1]["seq"]:
        continue


async def test_an_open_window_survives_kill_9_and_counts_every_reading_once(site):
    stages = "stages: [{window: {every: 1m, aggregates: [mean, count], idle: 10m}}]"
    (site.data / "transformers.yaml").write_text(f"chains: [{{id: minute, match: {{device: dev-8}}, {stages}}}]")
    reload(site)
    readings = [{"seq": seq, "ts": NOW + seq * 20_000, "values": {"t": seq}} for seq in range(4)]
    async with site.device("dev-8") as device:
        await device.subscribe("fl/v1/d/dev-8/ack")
        await report(device, "dev-8", *[{**one, "seq": one["seq"] + 1} for one in readings[:2]])
    site.gateway.kill()
    site.gateway.start()
    wait_until_ready(site.ports["http"])

    async with site.device("dev-8") as device:
        await device.subscribe("fl/v1/d/dev-8/ack")
        await report(device, "dev-8", *[{**one, "seq": one["seq"] + 1} for one in readings[1:]])

    (record,) = [one for one in outbox(site) if one["device"] == "dev-8"]
    assert (record["ts"], record["values"]) == (NOW, {"t.mean": 1, "t.count": 3})
    told = httpx2.get(f"http://127.0.0.1:{site.ports['http']}/api/v1/status", timeout=20).json()
    assert told["transformers"]["open_windows"] == 1
    assert told["outbox"]["policy"] == "refuse"
    metrics = httpx2.get(f"http://127.0.0.1:{site.ports['http']}/metrics", timeout=20).text
    assert 'transformer_readings_total{outcome="processed",stage="minute.0.window"} 2.0' in metrics


async def test_the_uplink_takes_no_more_of_the_link_than_it_may(site):
    async with site.device("dev-9") as device:
        await device.subscribe("fl/v1/d/dev-9/ack")
        for seq in range(1, 10):
            text = base64.b64encode(os.urandom(1500)).decode()  # can't be made much smaller
            await report(device, "dev-9", {"seq": seq, "ts": NOW, "values": {"text": text}})
    broker = run_cloud_broker(site, site.authority)
    async with cloud_client(site) as cloud:
        await cloud.subscribe(topics.up(GATEWAY))
        sizes, seqs, began, reached = [], set(), None, 0
        while len(seqs) < 9:
            payload = await next_payload(cloud, 60.0)
            sent = batch.unpack(payload, inflate)
            began = began or time.monotonic()
            if sent.offset > max(reached, sent.first - 1) + 1:
                continue  # what came before it came before this subscription, and comes again
            reached = sent.offset + len(sent.records) - 1
            await acknowledge(cloud, sent)
            sizes.append(len(payload))
            seqs |= {seq for name, _, low, high in sent.covers if name == "dev-9" for seq in range(low, high + 1)}
        took = time.monotonic() - began
    broker.stop()

    assert sum(sizes) >= 13_500
    assert sum(sizes) <= BYTES_PER_S * (took + 3), "a second's worth and a batch at once, and so much a second"


# --- files, without a gateway -----------------------------------------------------------------------------------------


def invoke(*arguments, code=0):
    done = CliRunner().invoke(app, ["transformers", *map(str, arguments)])
    assert done.exit_code == code, done.output
    return done


def test_a_file_is_checked_with_the_line_of_every_fault(tmp_path):
    file = tmp_path / "chains.yaml"
    file.write_text("chains:\n  - id: a\n    stages:\n      - rename: {too: b}\n      - window: {every: 1x}\n")

    faults = json.loads(invoke("check", file, "--json", code=1).stdout)["faults"]

    assert [fault.split(": ")[:2] for fault in faults] == [
        ["line 4", "chains[0].stages[0].rename.to"],
        ["line 4", "chains[0].stages[0].rename.too"],
        ["line 5", "chains[0].stages[1].window.every"],
    ]
    file.write_text("chains: []")
    assert invoke("check", file).stdout.endswith("0 chains, no fault\n")
    assert json.loads(invoke("schema").stdout)["title"] == "Definition"


def test_a_chain_is_tried_on_a_record_stage_by_stage(tmp_path):
    file = tmp_path / "chains.yaml"
    file.write_text("chains: [{id: a, match: {type: pump}, stages: [{convert: {scale: 2}}, {clean: {max: 9}}]}]")

    def tried(record, *options):
        return json.loads(invoke("try", file, "--record", record, "--type", "pump", "--json", *options).stdout)["items"]

    assert [(one["stage"], one["outcome"], one["value"]) for one in tried('{"t": 4, "u": 5, "v": "x"}')] == [
        ("a.0.convert", "passed", 8),
        ("a.1.clean", "passed", 8),
        ("a.0.convert", "passed", 10),
        ("a.1.clean", "left out", 10),
        ("a.0.convert", "failed: 'x' is no number, it can't be converted", "x"),
    ]
    assert "values.t: must be" in invoke("try", file, "--record", '{"values": {"t": []}}', code=2).stderr
    assert tried('{"boot": 1, "seq": 1, "ts": 5, "values": {"t": 1}}')[0]["value"] == 2
