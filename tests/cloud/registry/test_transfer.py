"""Devices come in and go out as files, each row with its report; what goes out comes in again unchanged. (R5)"""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldloom_cloud.registry import rows, transfer

CSV, NDJSON = {"Content-Type": "text/csv"}, {"Content-Type": "application/x-ndjson"}


def taken(api, content, headers=CSV, **params):
    answer = api.post("/devices/import", content=content, headers=headers, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def outcomes(report):
    return [
        (row["row"], row["id"], row["outcome"], [fault["path"] for fault in row["errors"]]) for row in report["rows"]
    ]


def test_a_csv_file_registers_changes_and_leaves_alone(api):
    first = taken(
        api,
        "id,type,name,capabilities,tag:floor,site\n"
        'c-1,pump,"North, ""old""",read; write,1,default\n'
        "c-2,valve,,,,default\n"
        'c-3,pump,"two\nlines",,,default\n',
    )
    second = taken(api, "id,name,tag:floor\r\nc-1,North,1\r\nc-2,,\r\nc-4,,\r\n".encode("utf-8-sig"))

    assert [row[1:3] for row in outcomes(first)] == [(f"c-{n}", "created") for n in (1, 2, 3)]
    assert outcomes(second) == [
        (2, "c-1", "updated", []),
        (3, "c-2", "unchanged", []),
        (4, "c-4", "refused", ["site"]),
    ]
    shown = api.get("/devices/c-1").json()
    assert (shown["name"], shown["type"], shown["tags"], shown["version"]) == ("North", "pump", {"floor": "1"}, 2)
    assert shown["capabilities"] == ["read", "write"]
    assert api.get("/devices/c-3").json()["name"] == "two\nlines"


def test_a_row_that_is_refused_stops_no_other_and_names_its_fault(api):
    lines = [
        {"id": "n-1", "site": "default", "tags": {"a": "b"}},
        {"id": "Not OK", "site": "default"},
        {"id": "n-2", "site": "nowhere"},
        {"id": "n-3", "site": "default", "colour": "red"},
        {"id": "n-4", "site": "default", "capabilities": "read"},
        {"id": "n-1", "site": "default"},
        {"site": "default"},
        {"id": "n-5", "site": "default", "name": "nul \0"},
        ["n-6"],
    ]
    report = taken(api, "\n".join([*map(json.dumps, lines), "{", "", '{"id": "n-7", "site": "default"}']), NDJSON)

    assert outcomes(report) == [
        (1, "n-1", "created", []),
        (2, "Not OK", "refused", ["id"]),
        (3, "n-2", "refused", ["site"]),
        (4, "n-3", "refused", ["colour"]),
        (5, "n-4", "refused", ["capabilities"]),
        (6, "n-1", "refused", ["id"]),
        (7, None, "refused", ["id"]),
        (8, None, "refused", ["row"]),
        (9, None, "refused", ["row"]),
        (10, None, "refused", ["row"]),
        (12, "n-7", "created", []),
    ]
    assert (report["created"], report["refused"]) == (2, 9)
    assert "is in row 1 already" in report["rows"][5]["errors"][0]["reason"]


@pytest.mark.parametrize(
    ("content", "row", "path"),
    [
        (b"id,id\nx,x\n", 1, "id"),
        (b"id,\nx,x\n", 1, "row"),
        (b"id,colour,site\nk-1,red,default\n", 2, "colour"),
        (b"id,site\nk-1\n", 2, "row"),
        (b'id,site\n"k-1,default\n', 2, "row"),
        (b"id,site\nk-1,\xff\n", 2, "row"),
        (b"id,site\nk-1," + b"x" * 70_000, 2, "row"),
        (b"id,site,name\nk-1,default,\0\n", 2, "row"),
    ],
)
def test_what_is_no_csv_is_told_with_its_line(api, content, row, path):
    report = taken(api, content)

    assert [(one[0], one[2], one[3]) for one in outcomes(report)] == [(row, "refused", [path])]


def test_a_dry_run_changes_nothing(api):
    taken(api, "id,site\nd-1,default\n")
    report = taken(api, "id,name,site\nd-1,x,default\nd-2,x,default\n", dry_run=True)

    assert [one[2] for one in outcomes(report)] == ["updated", "created"]
    assert api.get("/devices/d-1").json()["name"] == ""
    assert api.get("/devices/d-2").status_code == 404


def test_a_device_stays_at_its_site(api):
    taken(api, "id,site\ns-1,default\n")

    report = taken(api, "id,site\ns-1,other\n")
    assert outcomes(report) == [(2, "s-1", "refused", ["site"])]


@pytest.mark.parametrize(("kind", "headers"), [("csv", CSV), ("ndjson", NDJSON)])
def test_what_goes_out_comes_in_unchanged(api, kind, headers, monkeypatch):
    monkeypatch.setattr(transfer, "AT_ONCE", 5)
    monkeypatch.setattr(transfer, "PAGE", 5)
    body = {"id": "odd", "site": "other", "name": '=1+"x;\r\n', "capabilities": ["a;b", " c", "[d"]}
    api.post("/devices", json={**body, "tags": {"with space": "1", "=x": "ü\n"}})
    taken(api, "".join(f'{{"id": "bulk-{n:02}", "site": "other", "type": "bulk"}}\n' for n in range(12)), NDJSON)

    answer = api.get("/devices/export", params={"format": kind, "site": "other"})
    again = taken(api, answer.content, headers)

    assert answer.headers["Content-Type"].startswith(headers["Content-Type"])
    assert (again["unchanged"], again["created"] + again["updated"] + again["refused"]) == (13, 0), again["rows"][:3]
    assert [one["id"] for one in again["rows"]] == sorted(one["id"] for one in again["rows"])


def test_a_file_of_another_kind_or_filter_is_refused_and_export_is_no_device(api):
    assert api.post("/devices/import", content="x", headers={"Content-Type": "text/plain"}).status_code == 415
    assert api.get("/devices/export?format=xml").json()["errors"][0]["path"] == "format"
    assert api.get("/devices/export?group=none").json()["errors"][0]["path"] == "group"
    assert len(api.get("/devices/export?id=none").text.splitlines()) == 1
    assert api.post("/devices", json={"id": "export", "site": "default"}).json()["errors"][0]["path"] == "id"


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@settings(max_examples=60)
@given(
    name=texts,
    words=st.lists(texts.filter(bool), max_size=4),
    tags=st.dictionaries(texts.filter(bool), texts.filter(bool), max_size=3),
    size=st.integers(1, 40),
)
async def test_a_csv_row_is_read_as_it_was_written_however_it_is_cut(name, words, tags, size):
    fields = {"id": "x", "site": "s", "name": name, "type": "", "manufacturer": "", "model": "", "capabilities": words}
    told = dict.fromkeys(rows.TOLD, "")
    keys = sorted(tags)
    text = (rows.header(keys) + rows.to_csv([{**fields, **told, "tags": tags}], keys)).encode()

    async def chunks():
        for start in range(0, len(text), size):
            yield text[start : start + size]

    found = [row async for row in rows.from_csv(rows.lines(chunks()))]

    assert [(row.fields, row.fault) for row in found] == [({**fields, **({"tags": tags} if tags else {})}, None)]
