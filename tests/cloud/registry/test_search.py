"""Every field, tag and text finds its devices, and an index serves each of these filters and orders. (R1)"""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import ClauseElement, Executable

from fieldloom_cloud.database import is_sqlite
from fieldloom_cloud.registry.models import Capability, Device, DeviceText, Tag
from fieldloom_cloud.registry.search import EQUAL, SORTED_BY, DeviceQuery, select_devices

MANY = 1500
START = datetime(2026, 1, 1, tzinfo=UTC)
TYPES, MAKERS, MODELS = ("pump", "valve", "meter", "fan"), ("Acme", "Umbrella", "Initech"), ("M1", "M2", "Größe XL")
FIRMWARES, BOARDS, STATUSES = ("1.4.0", "1.5.0"), ("esp32-generic", "esp32-s3"), ("online", "offline", "unknown")
CAPABILITIES = ("read", "write", "dim", "open")


def row(number):
    """One device of many, with all that it can be found by; each field has a period of its own."""

    def one_of(values):
        return values[number % len(values)]

    moment = START + timedelta(minutes=number)
    fields = {"id": f"dev-{number:06}", "site": "default", "name": f"Nr. {number * 7919 % MANY}"}
    fields |= {"type": one_of(TYPES), "manufacturer": one_of(MAKERS), "model": one_of(MODELS)}
    fields |= {"firmware": FIRMWARES[number % 7 == 0], "board": BOARDS[number % 11 == 0], "status": one_of(STATUSES)}
    fields |= {"capabilities": [CAPABILITIES[number % 4], "any"], "version": 1, "created": moment, "updated": moment}
    return {**fields, "tags": {"floor": str(number % 13), "room": f"R{number % 17}"}}


RARE = dict.fromkeys(("type", "manufacturer", "model", "firmware", "board", "status"), "rare")
RARE |= {"site": "other", "capabilities": ["rare"], "tags": {"floor": "rare", "room": "rare"}}
ROWS = [*(row(number) for number in range(MANY)), row(MANY) | RARE]


def words(one):
    told = (one["id"], one["name"], one["type"], one["manufacturer"], one["model"])
    return "\n".join([*told, *(f"{key}:{value}" for key, value in one["tags"].items())]).casefold()


@pytest.fixture(scope="module")
def many(served):
    async def fill(session):
        tables = [name for name in ROWS[0] if name != "tags"]
        await session.execute(insert(Device), [{name: one[name] for name in tables} for one in ROWS])
        tags = [{"device": one["id"], "key": key, "value": value} for one in ROWS for key, value in one["tags"].items()]
        await session.execute(insert(Tag), tags)
        names = [{"device": one["id"], "name": name} for one in ROWS for name in one["capabilities"]]
        await session.execute(insert(Capability), names)
        await session.execute(insert(DeviceText), [{"device": one["id"], "text": words(one)} for one in ROWS])

    served.within(fill)
    served.within(lambda session: session.execute(text("ANALYZE")))
    return served


def found(api, **params):
    items, cursor = [], None
    while True:
        answer = api.get("/devices", params={"limit": 500, **params, **({"cursor": cursor} if cursor else {})})
        assert answer.status_code == 200, answer.text
        items += answer.json()["items"]
        cursor = answer.json()["next"]
        if cursor is None:
            return items


def has(one, name, value):
    if name == "tag":
        return all(one["tags"].get(text.partition(":")[0]) == text.partition(":")[2] for text in value)
    if name == "capability":
        return set(value) <= set(one["capabilities"])
    if name == "q":
        return value.casefold() in words(one)
    moment = {"from": lambda field: one[field] >= value, "to": lambda field: one[field] < value}
    field, _, end = name.partition("_")
    return moment[end](field) if end else one[name] == value


def any_of(name):
    return st.sampled_from(sorted({one[name] for one in (*ROWS[:50], ROWS[-1])}))


moments = st.integers(0, MANY).map(lambda minutes: START + timedelta(minutes=minutes))
texts = st.sampled_from([words(one) for one in (*ROWS[:200], ROWS[-1])]).flatmap(
    lambda told: st.tuples(st.integers(0, len(told) - 1), st.integers(1, 8)).map(lambda cut: told[cut[0] :][: cut[1]])
)
filters = st.fixed_dictionaries(
    {},
    optional={
        **{name: any_of(name) for name in EQUAL},
        **{f"{name}_{end}": moments for name in ("created", "updated") for end in ("from", "to")},
        "tag": st.lists(st.sampled_from(["floor:1", "floor:2", "room:R1", "room:R2"]), min_size=1, max_size=2),
        "capability": st.lists(st.sampled_from(CAPABILITIES), min_size=1, max_size=2),
        "q": st.one_of(texts, texts.map(str.upper), st.text(st.characters(exclude_categories=["C"]), max_size=4)),
    },
)


@settings(max_examples=20)
@given(wanted=filters, sort=st.sampled_from(SORTED_BY), is_descending=st.booleans())
def test_any_filter_in_any_order_finds_what_a_plain_look_at_all_devices_finds(many, wanted, sort, is_descending):
    expected = [one for one in ROWS if all(has(one, name, value) for name, value in wanted.items() if value)]
    expected.sort(key=lambda one: (one[sort], one["id"]), reverse=is_descending)

    told = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in wanted.items()}
    items = found(many.client, **told, sort=f"-{sort}" if is_descending else sort)

    assert [item["id"] for item in items] == [one["id"] for one in expected]


FILTERS = {
    **{name: ROWS[-1][name] for name in EQUAL},
    **{f"{name}_from": START + timedelta(minutes=MANY - 9) for name in ("created", "updated")},
    "tag": ["floor:rare"],
    "capability": ["rare"],
    "q": "rare",
}


class Explain(Executable, ClauseElement):
    inherit_cache = False

    def __init__(self, query):
        self.query = query


@compiles(Explain)
def _explain(element, compiler, **options):
    words = "EXPLAIN QUERY PLAN" if compiler.dialect.name == "sqlite" else "EXPLAIN"
    return f"{words} {compiler.process(element.query, **options)}"


def plan(served, wanted, sort="id"):
    """Return the steps of a query, and whether SQLite told them; PostgreSQL would scan tables as small as these."""

    async def explain(session):
        query = (await select_devices(session, DeviceQuery(**wanted), sort)).limit(101)
        if not is_sqlite(session):
            for setting in ("enable_seqscan",) if wanted else ("enable_seqscan", "enable_sort"):
                await session.execute(text(f"SET LOCAL {setting} = off"))
        rows = await session.execute(Explain(query))
        return [row[-1].strip() for row in rows], is_sqlite(session)

    return served.within(explain)


@pytest.mark.parametrize("name", FILTERS)
def test_an_index_serves_every_filter(many, name):
    steps, by_sqlite = plan(many, {name: FILTERS[name].isoformat() if "_" in name else FILTERS[name]})

    if by_sqlite:
        assert not [step for step in steps if step.startswith("SCAN") and "VIRTUAL TABLE INDEX" not in step], steps
    else:
        assert not [step for step in steps if "Seq Scan" in step or step.startswith("Filter:")], steps
        assert [step for step in steps if step.startswith("Index Cond:")], steps


@pytest.mark.parametrize("sign", ["", "-"])
@pytest.mark.parametrize("name", SORTED_BY)
def test_an_index_serves_every_order(many, name, sign):
    steps, _ = plan(many, {}, sign + name)

    assert [step for step in steps if "INDEX" in step.upper()], steps
    assert not [step for step in steps if "TEMP B-TREE" in step or step.startswith("Sort") or "Seq Scan" in step], steps


def test_a_text_is_found_whatever_its_case_and_its_signs(api):
    names = ("Wärmepumpe GROSS", '50% "off"_', "水泵三号", "Straße")
    for number, name in enumerate(names):
        api.post("/devices", json={"id": f"text-{number}", "site": "default", "name": name, "tags": {"at": "Çeşme"}})

    asked = {"WÄRME": 0, "ss": 3, "STRASSE": 3, '% "O': 1, "_": 1, "水泵": 2, "泵三号": 2, '"': 1, 'f"_': 1}
    for q, number in asked.items():
        assert f"text-{number}" in [one["id"] for one in found(api, q=q)], q
    assert [one["id"] for one in found(api, q="AT:ÇEŞME")] == [f"text-{number}" for number in range(len(names))]
    assert found(api, q="50_") == []


def test_a_text_follows_the_device(api):
    api.post("/devices", json={"id": "moves", "site": "default", "name": "Kettle", "capabilities": ["boil", "boil"]})
    api.patch("/devices/moves", json={"name": "Teapot", "tags": {"room": "pantry"}, "capabilities": ["pour"]})

    assert [[one["id"] for one in found(api, **asked)] for asked in ({"q": "kettle"}, {"capability": "boil"})] == [
        [],
        [],
    ]
    for asked in ({"q": "teapot"}, {"q": "pantry"}, {"capability": "pour"}, {"q": "tea"}):
        assert [one["id"] for one in found(api, **asked)] == ["moves"], asked
    api.delete("/devices/moves")
    assert found(api, q="teapot") == []


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("colour=red", "colour"),
        ("tag=floor", "tag"),
        ("tag=:1", "tag"),
        ("sort=colour", "sort"),
        ("created_from=yesterday", "created_from"),
        ("updated_to=5", "updated_to"),
        ("limit=501", "limit"),
        ("cursor=%3Ei:1", "cursor"),
        (f"q={'x' * 201}", "q"),
        ("q=a%00b", "q"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused_by_name(api, query, path):
    answer = api.get(f"/devices?{query}")

    assert (answer.status_code, [fault["path"] for fault in answer.json()["errors"]]) == (422, [path])
