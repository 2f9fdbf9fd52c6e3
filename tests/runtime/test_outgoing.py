"""Calls that go out, against a real SMTP server and real HTTP servers; only names are resolved by a double.

E3: channels by an allow-list of schemes, importance in the channel's manner; no address that is not listed, checked
after DNS and at each redirect; Standard Webhooks; what is tried again, and when; secrets for their owner alone.
"""

import json
import socket
import ssl
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple

import pytest
from aiosmtpd.controller import Controller
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from typer.testing import CliRunner

from fieldloom_cloud.commands import app as cloud
from fieldloom_gateway.commands import app as gateway
from fieldloom_runtime.errors import StartFailed
from fieldloom_runtime.outgoing import Calls, NotPerformed, Outgoing, addresses
from fieldloom_runtime.outgoing.configuration import webhooks
from fixtures.certificates import TestAuthority
from fixtures.web import Answer, server

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")  # Apprise looks for it

LISTED, UNLISTED = "127.0.0.2", "127.0.0.1"


class Asked(NamedTuple):
    """An effect."""

    kind: str
    parameters: dict
    id: str = "5f0c77aa5f0c77aa5f0c77aa5f0c77aa"


def named(**hosts):
    """Resolve `hooks` for hooks.example: each time the next of its addresses, and the last one ever after."""
    left = {name: list(found) for name, found in hosts.items()}
    asked = []

    async def resolve(host, port):
        asked.append(host)
        found = left.get(host.removesuffix(".example"))
        if found is None:
            raise socket.gaierror("no such name")
        return found.pop(0) if len(found) > 1 else found[0]

    resolve.asked = asked
    return resolve


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outgoing")
    Outgoing(folder)
    secret = webhooks(folder).secret
    text = f"secret: {secret}\nallow: [{LISTED}]\n"
    (folder / "webhooks.yaml").write_text(text)
    return folder


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """The server's context with a certificate for localhost, and the client's."""
    authority = TestAuthority(tmp_path_factory.mktemp("ca"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("server"))
    return context, ssl.create_default_context(cafile=authority.ca)


def call(url, **parameters):
    return Asked("http", {"method": "POST", "url": url, "headers": {}, **parameters})


# ---- addresses


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.100.100.200"),
        *("168.63.129.16", "192.0.0.192", "224.0.0.1", "255.255.255.255", "240.0.0.1", "198.18.0.1"),
        *("::", "::1", "fe80::1", "fe80::1%1", "fd00:ec2::254", "ff02::1", "::127.0.0.1", "::ffff:10.0.0.1"),
        *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2001:0:53aa:64c::1", "2001:db8::1"),
    ],
)
def test_no_call_goes_to_an_address_that_is_not_public(address):
    assert addresses.fault(address, []) is not None


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "1.1.1.1", "2606:4700::1111", "64:ff9b::101:101", "::ffff:1.1.1.1"]
)
def test_public_addresses_may_be_called(address):
    assert addresses.fault(address, []) is None


@given(st.ip_addresses(v=4), st.booleans())
def test_an_ipv4_address_is_judged_alike_in_whatever_form_it_stands(address, is_listed):
    listed = [ip_network(address)] if is_listed else []
    plain = addresses.fault(str(address), listed)

    assert addresses.fault(f"::ffff:{address}", listed) == plain
    assert addresses.fault(str(IPv6Address((0x64FF9B << 96) | int(address))), listed) == plain
    assert (plain is None) or not is_listed
    if plain is None and not is_listed:
        assert address.is_global
        assert not (address.is_private or address.is_loopback or address.is_link_local or address.is_multicast)


@given(st.ip_addresses(v=6))
def test_an_ipv6_address_that_may_be_called_is_public(address):
    if addresses.fault(str(address), []) is None:
        inner = addresses.meant(address)
        assert inner.is_global
        assert isinstance(inner, IPv4Address) or not (inner.is_reserved or inner.is_site_local or inner.is_multicast)


@given(st.ip_addresses())
def test_an_address_is_refused_or_in_none_of_the_networks_that_are_nobodys_business(address):
    networks = (
        "10.0.0.0/8",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "fc00::/7",
        "fe80::/10",
    )
    if addresses.fault(str(address), []) is None:
        assert not any(ip_address(addresses.meant(address)) in ip_network(one) for one in networks)


# ---- calls


async def test_a_call_is_signed_and_says_its_effect(data):
    with server(LISTED) as (port, arrived):
        asked = call(f"http://hooks.example:{port}/in?a=1", headers={"X-Site": "barn"}, body={"t": 81.5, "°": "C"})
        result = await Calls(data, named(hooks=[[LISTED]])).perform(asked)

    (request,) = arrived
    assert result == {"status": 200, "body": "thanks"}
    assert (request.method, request.path) == ("POST", "/in?a=1")
    assert request.headers["Host"] == f"hooks.example:{port}"
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["X-Site"] == "barn"
    assert request.headers["Idempotency-Key"] == request.headers["webhook-id"] == asked.id
    assert Webhook(webhooks(data).secret).verify(request.body, request.headers) == {"t": 81.5, "°": "C"}
    with pytest.raises(WebhookVerificationError):
        Webhook(webhooks(data).secret).verify(request.body + b" ", request.headers)


async def test_an_origin_has_a_secret_and_headers_of_its_own(tmp_path, data):
    own = "whsec_" + "b3duIG93biBvd24gb3duIG93biBvd24gb3duIG93bg=="
    with server(LISTED) as (port, arrived):
        origins = {f"http://hooks.example:{port}": {"secret": own, "headers": {"Authorization": "Bearer 1"}}}
        told = {"secret": webhooks(data).secret, "allow": [LISTED], "origins": origins}
        (tmp_path / "webhooks.yaml").touch(mode=0o600)
        (tmp_path / "webhooks.yaml").write_text(json.dumps(told))
        await Calls(tmp_path, named(hooks=[[LISTED]])).perform(call(f"http://hooks.example:{port}", body="warm"))

    assert arrived[0].headers["Authorization"] == "Bearer 1"
    assert Webhook(own).verify(arrived[0].body, arrived[0].headers, json_parse=False) is None


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "0x7f.0.0.1", "2130706433", "[::1]", "[::ffff:127.0.0.1]", "localhost"]
)
async def test_this_machine_is_not_called_by_whatever_name(data, host):
    with server(UNLISTED) as (port, arrived), pytest.raises(NotPerformed, match="loopback address") as refused:
        await Calls(data).perform(call(f"https://{host}:{port}/"))

    assert not refused.value.again
    assert arrived == []


async def test_a_name_that_gets_another_address_leads_nowhere_else(data):
    """DNS rebinding: the connection goes to the address that was checked, and the next call is checked again."""
    with server(LISTED) as (port, arrived), server(UNLISTED, port=port) as (_, inside):
        resolve = named(hooks=[[LISTED], [UNLISTED]])
        calls = Calls(data, resolve)
        await calls.perform(call(f"http://hooks.example:{port}"))
        assert resolve.asked == ["hooks.example"]
        with pytest.raises(NotPerformed, match=r"127\.0\.0\.1, a loopback address"):
            await calls.perform(call(f"http://hooks.example:{port}"))

    assert len(arrived) == 1
    assert inside == []


async def test_one_refused_address_among_several_is_enough(data):
    with server(LISTED) as (port, arrived), pytest.raises(NotPerformed, match="loopback"):
        await Calls(data, named(hooks=[[LISTED, UNLISTED]])).perform(call(f"http://hooks.example:{port}"))

    assert arrived == []


async def test_a_redirect_is_checked_like_the_first_address(data):
    with server(UNLISTED) as (inner, inside):
        away = Answer(307, {"Location": f"http://inner.example:{inner}/"})
        with server(LISTED, [away]) as (port, _):
            resolve = named(hooks=[[LISTED]], inner=[[UNLISTED]])
            with pytest.raises(NotPerformed, match=r"inner\.example is 127\.0\.0\.1, a loopback"):
                await Calls(data, resolve).perform(call(f"http://hooks.example:{port}"))

    assert inside == []


async def test_a_redirect_takes_the_body_along_and_no_header_to_another_server(data):
    with server(LISTED) as (second, there):
        away = Answer(308, {"Location": f"http://hooks.example:{second}/new"})
        with server(LISTED, [away]) as (first, _):
            asked = call(
                f"http://hooks.example:{first}", headers={"X-Key": "k", "Content-Type": "text/csv"}, body="a;b"
            )
            await Calls(data, named(hooks=[[LISTED]])).perform(asked)

    assert (there[0].path, there[0].body) == ("/new", b"a;b")
    assert "X-Key" not in there[0].headers
    assert there[0].headers["Content-Type"] == "text/csv"
    Webhook(webhooks(data).secret).verify(there[0].body, there[0].headers, json_parse=False)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Answer(302, {"Location": "/"}), "would make a GET of it"),
        (Answer(307, {"Location": "/"}), "sent on more than 3 times"),
        (Answer(307, {"Location": "ftp://hooks.example/"}), "sends it on to what is no address"),
        (Answer(404, {}, b"no such hook"), "answers 404: no such hook"),
    ],
)
async def test_what_another_try_would_not_change_is_given_up(data, answer, why):
    with server(LISTED, [answer]) as (port, _), pytest.raises(NotPerformed, match=why) as given_up:
        await Calls(data, named(hooks=[[LISTED]])).perform(call(f"http://hooks.example:{port}"))

    assert not given_up.value.again


@pytest.mark.parametrize(
    ("answer", "after_s"),
    [
        (Answer(503), None),
        (Answer(429, {"Retry-After": "120"}), 120),
        (Answer(503, {"Retry-After": "Thu, 26 Nov 2026 22:00:30 GMT"}), 30),
        (Answer(500, {"Retry-After": "999999"}), 3600),
        (Answer(500, {"Retry-After": "soon"}), None),
    ],
)
async def test_a_server_that_can_not_now_is_asked_again_when_it_says(data, answer, after_s):
    clock = 1_795_730_400.0  # 2026-11-26T22:00:00Z
    with server(LISTED, [answer, Answer()]) as (port, arrived):
        calls = Calls(data, named(hooks=[[LISTED]]), now=lambda: clock)
        with pytest.raises(NotPerformed, match=str(answer.status)) as failed:
            await calls.perform(call(f"http://hooks.example:{port}"))
        await calls.perform(call(f"http://hooks.example:{port}"))

    assert (failed.value.again, failed.value.after_s) == (True, after_s)
    assert arrived[0].headers["Idempotency-Key"] == arrived[1].headers["Idempotency-Key"]


async def test_nobody_there_and_no_such_name_are_tried_again(data):
    with server(LISTED) as (port, _):
        pass
    for host in ("hooks.example", "gone.example"):
        with pytest.raises(NotPerformed, match="can't be called") as failed:
            await Calls(data, named(hooks=[[LISTED]])).perform(call(f"http://{host}:{port}"))
        assert failed.value.again


async def test_the_next_address_is_tried_where_nobody_listens(data):
    with server(LISTED) as (port, _):
        found = ["127.0.0.3", LISTED]
        (data / "webhooks.yaml").write_text(
            (data / "webhooks.yaml").read_text().replace(f"[{LISTED}]", "[127.0.0.2/31]")
        )
        result = await Calls(data, named(hooks=[found])).perform(call(f"http://hooks.example:{port}"))

    assert result["status"] == 200


async def test_the_certificate_is_held_against_the_name(data, tls):
    with server(LISTED, tls=tls[0]) as (port, arrived):
        calls = Calls(data, named(localhost=[[LISTED]], hooks=[[LISTED]]), tls[1])
        assert (await calls.perform(call(f"https://localhost:{port}")))["status"] == 200
        with pytest.raises(NotPerformed, match=r"(?i)hostname mismatch"):
            await calls.perform(call(f"https://hooks.example:{port}"))

    assert len(arrived) == 1


async def test_public_servers_are_called_over_tls_alone(data):
    with pytest.raises(NotPerformed, match="use https") as refused:
        await Calls(data, named(hooks=[["93.184.216.34"]])).perform(call("http://hooks.example"))

    assert not refused.value.again


async def test_of_a_long_answer_only_the_beginning_is_read(data):
    with server(LISTED, [Answer(body=b"\0" + b"x" * 3_000_000)]) as (port, _):
        result = await Calls(data, named(hooks=[[LISTED]])).perform(call(f"http://hooks.example:{port}"))

    assert result["body"] == "\ufffd" + "x" * 4095


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ({"url": "file:///etc/passwd"}, "url: must begin with https://"),
        ({"url": "https://"}, "url: "),
        ({"url": "https://ann:secret@hooks.example"}, "url: must hold no password"),
        ({"headers": {"Host": "inner"}}, "headers: Host can't be given"),
        ({"headers": {"X-A": "b\r\nX-C: d"}}, "headers: X-A must be"),
        ({"headers": {"X A": "b"}}, "headers: 'X A' is no name"),
        ({"body": "x" * 262_145}, "body: has 262145 bytes"),
        ({"body": "\ud800"}, "body: has a character"),
    ],
)
async def test_what_can_not_be_sent_says_the_field(data, parameters, why):
    with pytest.raises(NotPerformed, match=why) as refused:
        await Calls(data, named()).perform(call(**{"url": "https://hooks.example", **parameters}))

    assert not refused.value.again
    assert "secret" not in str(refused.value)


# ---- notifications


class Post:
    """A mailbox."""

    def __init__(self):
        self.taken = []

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802 - the name is aiosmtpd's
        if address.startswith("nobody"):
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        self.taken.append(envelope)
        return "250 OK"


@pytest.fixture(scope="module")
def post():
    """A real SMTP server; gives its address and what it has taken."""
    handler = Post()
    with socket.create_server((UNLISTED, 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(handler, hostname=UNLISTED, port=port)
    controller.start()
    yield f"{UNLISTED}:{port}", handler.taken
    controller.stop()


def recipients(folder, **channels):
    path = folder / "notifications.yaml"
    path.touch(mode=0o600)
    path.write_text(json.dumps({"recipients": channels}))


def note(recipient, **parameters):
    return Asked("notification", {"recipient": recipient, "message": "81 °C", "importance": "high", **parameters})


async def test_a_recipient_gets_a_mail_of_that_importance(tmp_path, post):
    address, taken = post
    recipients(tmp_path, ann=[f"mailto://{address}?from=fieldloom@barn.example&to=ann@home.example"])

    result = await Outgoing(tmp_path).perform(note("ann", subject="Pump 7 is <hot>"))

    assert result == {"channels": [{"channel": "mailto", "error": None}]}
    envelope = taken[-1]
    assert envelope.rcpt_tos == ["ann@home.example"]
    text = envelope.content.decode()
    assert "Subject: Pump 7 is <hot>" in text
    assert "Importance: high" in text


async def test_a_channel_gets_the_importance_in_its_own_manner(tmp_path):
    with server(UNLISTED) as (port, arrived):
        recipients(tmp_path, barn=[f"ntfy://{UNLISTED}:{port}/alarms"])
        await Outgoing(tmp_path).perform(note("barn"))

    assert "high" in (arrived[0].headers.get("X-Priority"), json.loads(arrived[0].body or b"{}").get("priority"))


async def test_one_channel_that_works_is_enough_and_none_is_tried_again(tmp_path, post):
    address, _ = post
    good = f"mailto://{address}?from=fieldloom@barn.example&to=ann@home.example"
    bad = f"mailto://{address}?from=fieldloom@barn.example&to=nobody@home.example"
    recipients(tmp_path, ann=[bad, good], bob=[bad])
    outgoing = Outgoing(tmp_path)

    told = (await outgoing.perform(note("ann")))["channels"]
    with pytest.raises(NotPerformed, match="mailto: Sending email") as failed:
        await outgoing.perform(note("bob"))

    assert [one["error"] is None for one in told] == [False, True]
    assert failed.value.again


@pytest.mark.parametrize("commands", [cloud, gateway])
def test_a_recipient_is_tried_by_hand(tmp_path, post, commands):
    address, taken = post
    recipients(tmp_path, ann=[f"mailto://{address}?from=fieldloom@barn.example&to=ann@home.example"])

    done = CliRunner().invoke(commands, ["notify", "ann", "--message", "it works", "--data", str(tmp_path)])
    refused = CliRunner().invoke(commands, ["notify", "bob", "--data", str(tmp_path)])

    assert (done.exit_code, done.stdout) == (0, "mailto: taken\n")
    assert b"it works" in taken[-1].content
    assert (refused.exit_code, refused.stderr) == (1, "fieldloom: recipient: bob is not in notifications.yaml\n")


async def test_a_recipient_that_nobody_has_named_is_given_up(tmp_path):
    with pytest.raises(NotPerformed, match=r"recipient: carl is not in notifications\.yaml") as refused:
        await Outgoing(tmp_path).perform(note("carl"))

    assert not refused.value.again


# ---- configuration


@pytest.mark.parametrize("url", ["file:///etc/passwd", "syslog://", "json://127.0.0.1", "exec://x", "ann@home.example"])
def test_only_channels_that_reach_people_are_taken(tmp_path, url):
    recipients(tmp_path, ann=[url])

    with pytest.raises(StartFailed, match=r"notifications.yaml, line 1: recipients.ann\[0\] must be a URL of one of"):
        Outgoing(tmp_path)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("secret: abc", "line 1: secret must be whsec_"),
        ("allow: [10.0.0.1/8]", r"allow\[0\] "),
        ("origins: {ftp://x: {}}", "must be an origin"),
        ("origin: {}", "origin is not known here"),
        ("secret: [", "can't be read"),
    ],
)
def test_a_fault_in_a_file_is_named_at_the_start(tmp_path, text, why):
    Outgoing(tmp_path)
    path = tmp_path / "webhooks.yaml"
    kept = "" if text.startswith("secret") else path.read_text()
    path.write_text(f"{kept}{text}\n")

    with pytest.raises(StartFailed, match=why):
        Outgoing(tmp_path)


def test_secrets_are_their_owners_alone(tmp_path):
    Outgoing(tmp_path)
    path = tmp_path / "webhooks.yaml"
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)

    with pytest.raises(StartFailed, match="can be read by others"):
        Outgoing(tmp_path)
