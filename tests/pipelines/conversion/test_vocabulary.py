"""The option --vocabulary: the effect of each name on the ids of a dataset, and what is refused."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from conversions import convert, minari_file, small_model, write_documents

from gato_tokenize import Dataset, Kind, Vocabulary
from pipelines.sources import open_source


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    open_source.cache_clear()


def converted(source: str, *words: str) -> Dataset:
    assert convert(source, *words) == 0
    return Dataset.open("out/toy/1.0.0")


def ids_of(dataset: Dataset, kind: Kind) -> list[int]:
    sequence = next(dataset.records()).sequence
    return sorted(set(sequence.ids[sequence.kinds == kind].tolist()))


@pytest.mark.parametrize(
    ("option", "vocabulary", "observation", "separator", "action"),
    [  # the observation is 1.0 at each timestep, the action 1
        ("mu=100", Vocabulary(), 32744, 33024, 1),  # the paper's, said aloud
        ("disjoint=true", Vocabulary(disjoint=True), 32744, 33024, 33026),
        ("discrete_size=3", Vocabulary(discrete_size=3), 32744, 33024, 1),
        ("continuous_bins=512", Vocabulary(continuous_bins=512), 32372, 32512, 1),
        ("mu=1", Vocabulary(mu=1.0), 32575, 33024, 1),
        ("m=1", Vocabulary(m=1.0), 33023, 33024, 1),
        ("text_size=64,discrete_size=8", Vocabulary(text_size=64, discrete_size=8), 808, 1088, 1),
    ],
)
def test_each_name_has_its_effect(
    option: str, vocabulary: Vocabulary, observation: int, separator: int, action: int
) -> None:
    dataset = converted(minari_file("none"), "--vocabulary", option)
    assert dataset.tokenizer.vocabulary == vocabulary
    assert json.loads(Path("out/toy/1.0.0/tokenizer/spec.json").read_text())["vocabulary"] == json.loads(
        vocabulary.to_json()
    )
    assert ids_of(dataset, Kind.CONTINUOUS) == [observation]
    assert ids_of(dataset, Kind.SEPARATOR) == [separator]
    assert ids_of(dataset, Kind.DISCRETE_ACTION) == [action]
    episode = next(dataset.episodes())
    assert episode.fields["action"].tolist() == [1] * 4
    np.testing.assert_allclose(episode.fields["observation"], 1.0, atol=0.02)


def test_without_the_option_nothing_changes() -> None:
    plain = converted(minari_file("none")).tokenizer
    assert plain.vocabulary == Vocabulary()


def test_the_text_ids_follow_the_text_model_or_are_set() -> None:
    source, small = write_documents(), small_model()
    assert converted(source, *small).tokenizer.vocabulary == Vocabulary()
    words = [*small, "--vocabulary", "text_size=300,discrete_size=300"]
    assert convert(source, *words, out="out/toy/2.0.0") == 0
    texts = Dataset.open("out/toy/2.0.0")
    assert texts.tokenizer.vocabulary.continuous == range(300, 1324)
    assert texts.tokenizer.task("text").encode(next(texts.episodes())).ids.max() < 300


def test_another_vocabulary_is_another_plan(capsys: pytest.CaptureFixture[str]) -> None:
    converted(minari_file("none"))
    assert convert("minari:minari-none", "--vocabulary", "disjoint=true") == 2
    assert "was made by another plan" in capsys.readouterr().err


def test_the_plan_names_the_ranges(capsys: pytest.CaptureFixture[str]) -> None:
    assert convert(minari_file("none"), "--dry-run", "--vocabulary", "disjoint=true") == 0
    assert "34049 ids: text [0, 32000), discrete [33025, 34049)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("discrete_size=2", "size 3 is more than the 2 discrete ids: .*--vocabulary discrete_size=3"),
        ("discrete_size=40000", "set disjoint to true"),
        ("mu=0", "mu must be a positive finite number, not 0"),
        ("disjoint=1", "disjoint must be True or False, not 1"),
        ("continuous_bins=99999999", "float32 cannot tell"),
        ("m=1e-40", "float32 cannot tell 1024 bins apart"),
    ],
)
def test_a_vocabulary_that_does_not_fit_is_refused(
    option: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert convert(minari_file("none"), "--vocabulary", option) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("bins=3", "'bins' is unknown; known: text_size, discrete_size, continuous_bins, disjoint, mu, m"),
        ("mu=3,mu=4", "'mu' is given twice"),
        ("disjoint", "'disjoint' is not of the form NAME=NUMBER or disjoint=true"),
        ("disjoint=yes", "'disjoint=yes' is not of the form"),
    ],
)
def test_an_option_that_cannot_be_read_is_refused(
    option: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        convert(write_documents(), "--vocabulary", option)
    assert message in capsys.readouterr().err
