"""JsonArray against json.load, on every backend of ijson, and on files that are cut or are no JSON."""

import contextlib
import json
import random
import tracemalloc
from pathlib import Path
from typing import Any

import ijson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.sources.image_text import json_arrays
from pipelines.sources.image_text.json_arrays import Cursor, JsonArray

ATOMS = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text('ab{}[]",\\ é', max_size=8)
VALUES = st.recursive(
    ATOMS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3)
)


def scanned(path: Path, key: str) -> JsonArray:
    found = JsonArray(str(path), key)
    for _ in found.scan():
        pass
    return found


@pytest.fixture(params=["yajl2_c", "python"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    try:
        found = ijson.get_backend(request.param)
    except ImportError:
        pytest.skip(f"ijson has no {request.param} here")
    monkeypatch.setattr(json_arrays.ijson, "items", found.items)
    return str(request.param)


@pytest.mark.parametrize("chunk", [1, 7, 64, 2**16])
def test_members_from_any_number_on(tmp_path: Path, backend: str, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_arrays, "CHUNK", chunk)
    members = [{"id": i, "text": "a } b" * (i % 3), "more": [{"x": i}]} for i in range(40)]
    path = tmp_path / "a.json"
    for head in ({"info": {"list": [{}]}, "list": members, "after": {"list": [1]}}, {"a": [[{}]], "list": members}):
        for indent in (None, 1):
            path.write_text(json.dumps(head, indent=indent))
            found = JsonArray(str(path), "list")
            assert list(found.scan()) == members and found.count == 40
            for first in (0, 1, 20, 39):
                assert list(found.members(first)) == members[first:]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(values=st.lists(VALUES, max_size=12), chunk=st.integers(1, 40))
def test_any_members(tmp_path: Path, backend: str, values: list[Any], chunk: int) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"x": {"list": [{}]}, "list": values, "y": [{"list": 3}]}))
    before, json_arrays.CHUNK = json_arrays.CHUNK, chunk
    try:
        found = JsonArray(str(path), "list")
        assert list(found.scan()) == values
        for first in range(len(values)):
            assert list(found.members(first)) == values[first:]
    finally:
        json_arrays.CHUNK = before


def test_single_members_in_any_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_arrays, "CHUNK", 100)
    monkeypatch.setattr(json_arrays, "SKIPPED", 3)
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"list": [{"id": i} for i in range(50)]}))
    cursor = Cursor(scanned(path, "list"))
    for number in (0, 1, 2, 9, 49, 3, 3, 5, 30, 31):
        assert cursor.member(number) == {"id": number}
    with pytest.raises(ValueError, match="has no member 50"):
        cursor.member(50)
    cursor.close()
    assert cursor.member(4) == {"id": 4}
    cursor.close()


def test_members_in_order_are_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"list": [{"id": i} for i in range(5000)]}))
    cursor, opened = Cursor(found := scanned(path, "list")), []
    whole = found.members
    monkeypatch.setattr(found, "members", lambda first: opened.append(first) or whole(first))
    assert [cursor.member(number)["id"] for number in range(0, 5000, 7)] == list(range(0, 5000, 7))
    assert opened == [0]


def test_a_file_cut_at_every_byte_is_no_json(tmp_path: Path, backend: str) -> None:
    path = tmp_path / "a.json"
    whole = json.dumps({"list": [{"id": i, "é": "}"} for i in range(3)], "b": 1}, ensure_ascii=False).encode()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"a\.json is no whole JSON file: "):
            scanned(path, "list")


def test_changed_bytes_are_an_error_or_mean_what_json_says(tmp_path: Path) -> None:
    """Two parsers differ in little: here the other one also takes a form feed for white space."""
    members = [{"id": i, "t": "é{" * i, "x": [{"y": 1}]} for i in range(5)]
    whole = json.dumps({"info": {"a": [1, {"b": "}"}]}, "list": members, "z": 1}, ensure_ascii=False).encode()
    generator, sound = random.Random(0), 0
    path = tmp_path / "a.json"
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(generator.randint(1, 2)):
            data[generator.randrange(len(data))] = generator.choice(b'0123{}[],: xyz\\xc3"')
        path.write_bytes(data)
        found = JsonArray(str(path), "list")
        try:
            values = list(found.scan())
        except ValueError as error:
            assert str(path) in str(error)
            continue
        sound += 1
        assert all(list(found.members(first)) == values[first:] for first in range(len(values)))
        if data.count(b'"list"') == 1:
            assert json.loads(data)["list"] == values
    assert sound > 10


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"\x1f\x8b",
        b'{"list": [{}],}',
        b'{"list": [{"a": "\xff"}]}',
        b"{} {}",
        b'{"list": [01]}',
        b'{"list": [' + b"9" * 9999 + b"]}",
    ],
)
def test_what_is_no_json(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.json is no whole JSON file: [^\n]+$"):
        scanned(tmp_path / "a.json", "list")


def test_deep_nesting_is_refused_before_it_takes_memory(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'{"list":' + b"[" * 10**6)
    with pytest.raises(ValueError, match="nested too deeply"):
        scanned(tmp_path / "a.json", "list")


def test_a_file_of_another_size_than_when_it_was_scanned(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"list": [{}]}))
    found = scanned(path, "list")
    path.write_text(json.dumps({"list": [{}, {}]}))
    with pytest.raises(ValueError, match="has changed since it was planned"):
        next(found.members(0))


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    peaks = []
    for count in (2_000, 40_000):
        path = tmp_path / "a.json"
        with open(path, "w") as file:
            file.write('{"list": [' + ", ".join(json.dumps({"id": i, "text": "x" * 200}) for i in range(count)) + "]}")
        tracemalloc.start()
        found = scanned(path, "list")
        with contextlib.closing(found.members(count - 1)) as members:
            assert next(members)["id"] == count - 1
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 200_000, peaks
