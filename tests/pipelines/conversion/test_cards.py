"""The cards of a dataset: README.md for people, croissant.json for catalogues, and what `--card` says in both."""

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conversions import convert, tree, write_documents, write_lines, write_pictures

from gato_tokenize import Dataset
from gato_tokenize.storage.episode_list import EPISODES, read_lines
from pipelines.__main__ import main
from pipelines.conversion.card import Card, CardError
from pipelines.conversion.plan import Plan
from pipelines.conversion.readme import MOST_ROWS, readme
from pipelines.conversion.work import Work
from pipelines.inspection.verify import verify
from pipelines.sources import open_source

GOLDEN = Path(__file__).parents[2] / "data/golden/schema_2/1.0.0"
CARD = """
name = "Levels & letters | <b>"
description = "What it is.\\nAnd *how*."
licence = "CC-BY-4.0"
citation = "@misc{toy,\\n  title={```}\\n}"
url = "https://example.org/toy"
creators = ["A. Person", "B. Person"]
"""


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    Path("card.toml").write_text(CARD)
    yield
    open_source.cache_clear()  # the next test may have files of the same names


def lines_of(folder: str) -> list[str]:
    return Path(folder, "README.md").read_text(encoding="utf-8").splitlines()


def text_of(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def test_a_readme_by_hand() -> None:
    write_lines("docs.jsonl.gz", ['{"text": "one"}', "broken", '{"text": "two"}'])
    assert convert("text:docs.jsonl.gz", "--max-rejects", "1") == 0
    manifest = Dataset.open("out/toy/1.0.0").manifest
    (given,) = manifest["inputs"]
    split = manifest["splits"]["train"]
    lines = lines_of("out/toy/1.0.0")
    tokens = split["tokens"]
    assert lines[:3] == [
        "# toy",
        "",
        f"toy 1.0.0: 2 episodes of 1 task as Gato's tokens: 2 timesteps, {tokens} tokens.",
    ]
    for line in (
        f"| train | 2 | 2 | {tokens} | {split['bytes']} | 1 |",
        f"| text | train | 2 | 2 | {tokens} | {tokens} |",
        f"Made by {manifest['generator']} from these inputs:",
        f"| docs.jsonl.gz | text:docs.jsonl.gz | {given['sha256'][:16]} |",
        "* 3 episodes read, 2 written.",
        "* 1 rejected: read: ValueError.",
        f"* sha256 of the tokenizer: {manifest['tokenizer_sha256']}",
        'dataset = Dataset.open("DIR/toy/1.0.0")',
        "* Licence: none was given",
        "* Citation: none was given",
    ):
        assert line in lines
    assert not any(word in "".join(lines) for word in ("Creators", "Page"))


def test_what_the_card_says_is_in_both_files() -> None:
    assert convert(write_documents(6), "--card", "card.toml") == 0
    lines = lines_of("out/toy/1.0.0")
    assert lines[0] == "# Levels &amp; letters \\| &lt;b>" and lines[4:6] == ["What it is.", "And *how*."]
    end = lines.index("* Licence: CC-BY-4.0")
    assert lines[end:] == [
        *(
            "* Licence: CC-BY-4.0",
            "* Creators: A. Person, B. Person",
            "* Page: https://example.org/toy",
            "* Citation:",
            "",
        ),
        *("````text", "@misc{toy,", "  title={```}", "}", "````", ""),
    ]
    about = json.loads(Path("out/toy/1.0.0/croissant.json").read_text())
    assert (about["name"], about["license"], about["url"]) == (
        "Levels & letters | <b>",
        "CC-BY-4.0",
        lines[end + 2][8:],
    )
    assert [creator["name"] for creator in about["creator"]] == ["A. Person", "B. Person"]
    assert about["description"] == "What it is.\nAnd *how*." and about["citeAs"].startswith("@misc{toy,\n")


@pytest.mark.filterwarnings("ignore")  # those of mlcroissant and of what it imports
def test_a_reader_of_the_format_validates_and_loads_it(caplog: pytest.LogCaptureFixture) -> None:
    mlcroissant = pytest.importorskip("mlcroissant")
    assert convert(write_documents(6), write_pictures(3), "--validation-fraction", "0.5", "--card", "card.toml") == 0
    assert convert(write_documents(6), out="plain/toy/1.0.0") == 0
    mlcroissant.Dataset(jsonld="plain/toy/1.0.0/croissant.json")  # without a card: it raises for an error
    with caplog.at_level(logging.WARNING):
        loaded = mlcroissant.Dataset(jsonld="out/toy/1.0.0/croissant.json")
    issues = loaded.metadata.ctx.issues
    assert not issues.errors and [warning.count("datePublished") for warning in issues.warnings] == [1]
    assert "not standard" not in caplog.text  # the context of the format
    found = [
        {name.removeprefix("episodes/"): text_of(value) for name, value in row.items()}
        for row in loaded.records("episodes")
    ]
    expected = list(read_lines(Path("out/toy/1.0.0", EPISODES)))
    assert [{**line, "split": line["shard"].split("-")[1].split(".")[0]} for line in expected] == found
    assert {row["split"] for row in found} == {"train", "validation"}
    for file in json.loads(Path("out/toy/1.0.0/croissant.json").read_text())["distribution"]:
        assert file["sha256"] == tree("out/toy/1.0.0")[file["contentUrl"]]


def test_cards_are_part_of_the_dataset_and_of_its_plan(capsys: pytest.CaptureFixture[str]) -> None:
    source = write_documents(6)
    assert convert(source, "--card", "card.toml") == convert(source, "--card", "card.toml", out="two/toy/1.0.0") == 0
    assert tree("out") == tree("two")
    Path("card.toml").write_text('licence = "MIT"')
    assert convert(source, "--card", "card.toml") == 2
    assert "was made by another plan" in capsys.readouterr().err
    Path("out/toy/1.0.0/README.md").write_text("edited")
    Path("out/toy/1.0.0/croissant.json").unlink()
    assert [fault.file for fault in verify(Path("out/toy/1.0.0"))] == ["README.md", "croissant.json"]


def test_an_edit_keeps_the_card_that_all_have(tmp_path: Path) -> None:
    Path("other.toml").write_text('licence = "MIT"')
    for name, words in (("a", ["--card", "card.toml"]), ("b", ["--card", "card.toml"]), ("c", [])):
        write_lines(f"{name}.jsonl.gz", ['{"text": "one"}'])
        assert convert(f"text:{name}.jsonl.gz", *words, out=f"out/{name}/1.0.0") == 0
    for number, (datasets, words, licence) in enumerate(
        (("ab", [], "CC-BY-4.0"), ("ac", [], "none was given"), ("ab", ["--card", "other.toml"], "MIT"))
    ):
        out = f"out/d/1.0.{number}"
        assert main(["merge", out, *(f"out/{name}/1.0.0" for name in datasets), *words]) == 0
        assert f"* Licence: {licence}" in lines_of(out) and list(verify(Path(out), deep=True)) == []
    assert "| a/1.0.0/manifest.json | gato-data merge |" in "".join(lines_of("out/d/1.0.0"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('license = "MIT"', "card.toml: the key 'license' is unknown; known: name, description, licence"),
        ("licence = 4", "card.toml: licence must be a text in quotes, none of them empty, not 4"),
        ('name = " "', "name must be a text in quotes"),
        ('creators = "me"', "creators must be an array of texts"),
        ("creators = [3]", "creators must be an array of texts"),
        ("name =", "card.toml is no TOML file: "),
    ],
)
def test_a_card_that_is_refused(text: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("card.toml").write_text(text)
    with pytest.raises(CardError, match=message):
        Card.read(Path("card.toml"))
    assert convert(write_documents(6), "--card", "card.toml") == 2
    assert message in capsys.readouterr().err and not Path("out").exists()


def test_bytes_that_are_no_text_and_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    Path("card.toml").write_bytes(b'name = "\xff"')
    for name in ("card.toml", "nowhere.toml"):
        assert convert(write_documents(6), "--card", name) == 2
        error = capsys.readouterr().err
        assert name in error and error.count("\n") == 1


def test_a_plan_keeps_its_card() -> None:
    plan = Plan("toy", "1.0.0", (Work("text:a.txt", {}),), (), "0" * 64)
    carded = Plan(**{**vars(plan), "card": Card(licence="MIT", creators=("A", "B"))})
    assert "card" not in json.loads(plan.to_json()) and Plan.from_json(plan.to_json()) == plan
    assert Plan.from_json(carded.to_json()) == carded and carded.sha256 != plan.sha256


def test_long_tables_are_cut_and_no_name_is_markup() -> None:
    dataset = Dataset.open(Path(shutil.copytree(GOLDEN, "toy/1.0.0")))
    counts = dataset.stats["train"]["text"]
    tasks = {f"task {number} | [x](y) `<b>`": counts for number in range(MOST_ROWS + 7)}
    manifest: dict[str, Any] = {**dataset.manifest, "inputs": []}
    lines = list(readme(manifest, {"train": tasks}, dataset.tokenizer, Card()))
    assert "| task 0 \\| \\[x](y) \\`&lt;b>\\` | train | 2 | 2 | 40 | 40 |" in lines
    assert (
        sum(line.startswith("| task ") for line in lines) == MOST_ROWS + 1
        and "and 7 more, which `stats.json` has" in lines
    )
    seen = list(readme(manifest, dataset.stats, dataset.tokenizer, Card()))
    assert any(line.startswith("* 1 values beyond the bins' reach (golden/arm-v1): ") for line in seen)
    assert any(line.endswith("from inputs that it was not told.") for line in lines)
