"""One file is one input, however many names lead to it; and every name that `glob` finds is found."""

import glob
import itertools
import os
from pathlib import Path

import pytest
from conversions import convert, png
from limited import read_source

from pipelines.conversion.plan import PlanError, make_plan
from pipelines.sources import open_source
from pipelines.sources.formats.matching import matching

OUT = Path("out/toy/1.0.0")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    open_source.cache_clear()


def write(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(f"the document {name}")


@pytest.mark.timeout(20)
def test_a_cycle_of_links_ends() -> None:
    write("loop/a.txt", "loop/in/b.txt")
    for link, target in (("loop/self", "."), ("loop/also", "."), ("loop/in/up", ".."), ("loop/Here", "../loop")):
        Path(link).symlink_to(target)
    found = matching("loop/**/*.txt")
    assert found.files == ["loop/a.txt", "loop/in/b.txt"]
    assert "loop/self is another name of loop" in found.left_out and len(found.left_out) == 4
    assert [candidate.episode_id for candidate, _ in read_source(open_source("text:loop/**/*.txt"))] == found.files


def test_a_link_to_a_file_that_is_matched_too_is_left_out() -> None:
    write("z.txt")
    Path("a.txt").symlink_to("z.txt")
    os.link("z.txt", "zz.txt")
    found = matching("*.txt")
    assert found.files == ["z.txt"]
    assert found.left_out == ["zz.txt is another name of z.txt", "a.txt is another name of z.txt"]


def test_links_that_lead_elsewhere_are_followed() -> None:
    write("docs/a.txt", "else/b.txt", "else/in/c.txt", "d.txt")
    Path("docs/else").symlink_to("../else")
    Path("docs/d.txt").symlink_to("../d.txt")
    found = matching("docs/**/*.txt")
    assert found == (["docs/a.txt", "docs/d.txt", "docs/else/b.txt", "docs/else/in/c.txt"], [])


def test_a_folder_is_searched_again_for_other_names() -> None:
    write("a/x/1.txt", "c/2.txt")
    Path("a/b").symlink_to("../c")
    assert matching("**/b/*.txt").files == ["a/b/2.txt"]
    assert matching("**/**/*.txt").files == ["a/x/1.txt", "c/2.txt"]


def test_a_folder_that_cannot_be_searched_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    write("docs/a.txt")
    monkeypatch.setattr(os, "scandir", lambda path: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    with pytest.raises(ValueError, match="the folder docs cannot be searched: Permission denied"):
        matching("docs/**/*.txt")


def test_without_links_it_finds_what_glob_finds() -> None:
    write("a.txt", "b/a.txt", "b/c/[d]/a.txt", "b/c/e.md", ".hidden/a.txt", "b/.a.txt", "x**/b.txt", "b/x**/y/b.txt")
    parts = ["**", "*", "b", "*.txt", "x**", "[[]d]", ".hidden"]
    for count in (1, 2, 3):
        for names in itertools.product(parts, repeat=count):
            plain = "/".join(names)
            for pattern in (plain, f"./{plain}", f"{Path.cwd()}/{plain}", "//".join(names)):
                expected = {path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path)}
                try:
                    found = set(matching(pattern).files)
                except ValueError:
                    found = set()
                assert found == expected, pattern


def test_two_sources_with_two_names_of_a_file_are_refused() -> None:
    write("a.txt", "b.txt")
    Path("link.txt").symlink_to("a.txt")
    for other in ("./a.txt", "link.txt", f"{Path.cwd()}/a.txt"):
        with pytest.raises(PlanError, match=r"read one file by two names, \S+ and a\.txt: leave out"):
            make_plan(["text:a.txt", f"text:{other}?task=other"], OUT)
    make_plan(["text:a.txt", "text:b.txt?task=other"], OUT)
    make_plan(["text:a.txt?by=line", "text:a.txt?task=whole"], OUT)


def test_lines_that_name_other_pictures_are_another_input() -> None:
    write("one/pairs.jsonl", "two/0.png")
    Path("one/pairs.jsonl").write_text('{"image": "0.png", "caption": "a"}\n')
    os.link("one/pairs.jsonl", "two/pairs.jsonl")
    Path("two/again.jsonl").symlink_to("pairs.jsonl")
    for seed, name in enumerate(("one/0.png", "two/0.png")):
        Path(name).write_bytes(png(seed))
    source = open_source("image-text:*/*.jsonl")
    assert [candidate.source_uri for candidate, _ in read_source(source)] == ["one/pairs.jsonl", "two/pairs.jsonl"]
    assert source.notes() == ["two/again.jsonl is another name of two/pairs.jsonl, and is left out"]
    make_plan(["image-text:one/*.jsonl", "image-text:two/p*.jsonl"], OUT)
    with pytest.raises(PlanError, match="read one file by two names"):
        make_plan(["image-text:two/a*.jsonl", "image-text:two/p*.jsonl"], OUT)


def test_equal_content_and_other_names_are_reported(capsys: pytest.CaptureFixture[str]) -> None:
    write("a.txt", "c.txt")
    Path("b.txt").write_text(Path("a.txt").read_text())
    Path("d.txt").symlink_to("c.txt")
    for words in (["--dry-run"], []):
        assert convert("text:*.txt", *words) == 0
        out = capsys.readouterr().out
        assert "1 input has the content of another: b.txt that of a.txt" in out
        assert "note: d.txt is another name of c.txt, and is left out" in out
    assert convert("text:c.txt", out="again/toy/1.0.0") == 0
    out = capsys.readouterr().out
    assert "content of another" not in out and "note" not in out
