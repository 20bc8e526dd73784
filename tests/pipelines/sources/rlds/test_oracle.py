"""RldsSource against TFDS: a dataset that TFDS wrote is read to the values that TFDS reads."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from limited import read_source
from rlds_files import by_tfds

from gato_tokenize import Episode
from pipelines.sources import open_source
from pipelines.sources.contract import EpisodeSourceContract

tfds = pytest.importorskip("tensorflow_datasets")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TFDS reads protocol buffers in an old way


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return by_tfds(tmp_path_factory.mktemp("written"), train=4, val=2)


AS_FILES = {"steps": {"observation": {name: tfds.decode.SkipDecoding() for name in ("eye", "depth")}}}


class TestContract(EpisodeSourceContract):
    @pytest.fixture(autouse=True)
    def _written(self, folder: Path) -> None:
        self.written = folder

    def make(self, folder: Path) -> str:
        return f"rlds:{self.written}"


def expected(folder: Path, split: str) -> list[dict[str, Any]]:
    """The steps of each episode as TFDS reads them, each field stacked over time."""
    builder = tfds.builder_from_directory(folder)
    episodes = []
    for episode in tfds.as_numpy(builder.as_dataset(split, decoders=AS_FILES)):
        steps = list(episode["steps"])
        fields = {name: [step[name] for step in steps] for name in ("action", "reward", "language_instruction")}
        for name in steps[0]["observation"]:
            fields[f"observation/{name}"] = [step["observation"][name] for step in steps]
        episodes.append(fields)
    return episodes


def test_every_value_is_that_of_tfds(folder: Path) -> None:
    open_source.cache_clear()
    source = open_source(f"rlds:{folder}?last_step=keep&fields=observation,-observation/ragged")
    read = [(candidate.split, episode) for candidate, episode in read_source(source)]
    oracle = [("train", one) for one in expected(folder, "train")] + [
        ("validation", one) for one in expected(folder, "val")
    ]
    assert len(read) == len(oracle) == 6
    compared = set()
    for (split, episode), (name, fields) in zip(read, oracle, strict=True):
        assert isinstance(episode, Episode), episode
        assert split == name and episode.num_steps == len(fields["action"])
        for path, values in episode.fields.items():
            compared.add(path)
            if path == "observation/instruction":
                assert values == [text.decode() for text in fields["language_instruction"]]
            elif path in ("observation/eye", "observation/depth"):
                assert values == fields[path], path
            elif path == "observation/pairs/x":
                assert np.array_equal(values, [pair["x"] for pair in fields["observation/pairs"]])
            elif path == "observation/square":
                assert values.tolist() == [rows.to_list() for rows in fields[path]]
            else:
                assert np.array_equal(values, np.asarray(fields[path])), path
        assert episode.metadata.return_ == np.sum(fields["reward"])
    assert len(compared) == 14, sorted(compared)


def test_what_is_left_out_is_noted(folder: Path) -> None:
    open_source.cache_clear()
    notes = "\n".join(open_source(f"rlds:{folder}").notes())
    for name in ("depth", "ragged", "words", "pairs/name", "height", "goal_embedding"):
        assert f"observation/{name} is left out" in notes
