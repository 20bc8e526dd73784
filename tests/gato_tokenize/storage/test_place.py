"""What is said of a path that was given for something else."""

import pytest

from gato_tokenize import Dataset
from gato_tokenize.storage.dataset import DatasetTokenizer
from gato_tokenize.storage.place import describe


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["run.json", "tokenizer/spec.json"], "it is the folder of a training run"),
        (["manifest.json", "_run/plan.json"], "it is a dataset"),
        (["_run/plan.json"], "it is an unfinished conversion"),
        (["saved_model.pb", "policy.json"], "it is a SavedModel, which plain TensorFlow loads"),
        (["model.safetensors", "tokenizer/spec.json"], "it is an exported model"),
        (["spec.json", "text.model"], "it is the tokenizer of a dataset or of a run: its parent is what to give"),
        (["notes.txt"], "it is a folder of something else"),
        ([], "it is an empty folder"),
    ],
)
def test_a_folder(files, said, tmp_path):
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert describe(tmp_path) == said


@pytest.mark.parametrize("version", ["1.0.0", "a[1]"])
def test_a_parent_names_a_child(version, tmp_path):
    for name in ("data/toy", "runs"):
        (tmp_path / name / version).mkdir(parents=True)
    (tmp_path / "data" / "toy" / version / "manifest.json").touch()
    (tmp_path / "runs" / version / "run.json").touch()
    for parent in ("data", "data/toy"):
        said = f"it is a folder of datasets, for example {tmp_path}/data/toy/{version}"
        assert describe(tmp_path / parent) == said
    assert describe(tmp_path / "runs") == f"it is a folder of training runs, for example {tmp_path}/runs/{version}"


def test_a_run_is_no_dataset(tmp_path):
    (tmp_path / "run.json").touch()
    with pytest.raises(FileNotFoundError, match="is no complete dataset: it is the folder of a training run"):
        Dataset.open(tmp_path)
    with pytest.raises(FileNotFoundError, match="holds no tokenizer/spec.json: there is nothing; give a dataset or"):
        DatasetTokenizer.load(tmp_path / "nope")
