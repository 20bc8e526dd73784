"""The faces of the three packages: the names that a user imports, and what each of them costs."""

import importlib
import subprocess
import sys

import pytest

NAMES = {
    "gato_tokenize": {
        *("TextSpec", "ImageSpec", "DiscreteSpec", "ContinuousSpec", "EpisodeSpec", "spec_from_spaces"),
        *("read_spaces", "Roles"),
        *("tuple_to_dict", "Episode", "EpisodeMetadata", "Vocabulary", "Kind", "TextTokenizer", "train_text_model"),
        *("ImageTokenizer", "Patches", "DiscreteTokenizer", "ContinuousTokenizer", "mu_law", "inverse_mu_law"),
        *("EpisodeTokenizer", "TokenSequence", "show", "Record", "write_records", "read_records", "read_record"),
        *("CorruptRecordError", "Damage", "Dataset", "__version__"),
    },
    "pipelines": {
        *("Source", "Candidate", "Filtered", "Reject", "SourceError", "open_source", "Plan", "make_plan", "convert"),
        *("ReadEpisodes", "TokenizeEpisodes", "WriteShards", "PublishDataset"),
    },
    "gato_model": {"Share", "batches", "GatoConfig", "Gato", "load", "GatoPolicy"},
}


@pytest.mark.parametrize("package", NAMES)
def test_a_face_gives_its_names_and_no_others(package: str) -> None:
    face = importlib.import_module(package)
    assert set(face.__all__) == NAMES[package]
    for name in face.__all__:
        assert getattr(face, name).__class__ is not type(sys), f"{package}.{name} is a module"
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = face.no_such_name


def test_what_needs_no_beam_does_not_import_it() -> None:
    names = ", ".join(
        sorted(NAMES["pipelines"] - {"ReadEpisodes", "TokenizeEpisodes", "WriteShards", "PublishDataset"})
    )
    code = f"from pipelines import {names}; import sys; print('apache_beam' in sys.modules, 'rich' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "False"], done.stderr
