"""A model that was overfitted on a sentence, a caption and two answers writes them; what is legal; refusals."""

import io

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from toy_acting import CONFIG, SPEC, VOCABULARY, toy_model

from gato_model.__main__ import main
from gato_model.acting import generator as generator_module
from gato_model.acting.chunk import Chunk
from gato_model.acting.generator import Generator
from gato_model.commands import arguments, generate
from gato_tokenize import Episode, EpisodeSpec, ImageSpec
from gato_tokenize.command_line import CommandParser
from gato_tokenize.output import Output
from gato_tokenize.storage.dataset import DatasetTokenizer

IMAGE = ImageSpec(resize=(32, 32))
SPECS = {
    "caption": EpisodeSpec.caption(IMAGE),
    "text": EpisodeSpec.document(),
    "vqa": EpisodeSpec.question_answer(IMAGE),
}


def picture(shade):
    file = io.BytesIO()
    Image.fromarray(np.full((40, 40, 3), shade, np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def tokenizer():
    return DatasetTokenizer.for_specs(SPECS)


def samples(tokenizer):
    def encoded(task, **fields):
        spec = SPECS[task]
        return tokenizer.task(task).encode(Episode(spec, {key: [value] for key, value in fields.items()}))

    return [
        encoded("text", text="the red ball is here"),
        encoded("caption", image=picture(20), caption="a dark square"),
        encoded("caption", image=picture(230), caption="a bright square"),
        encoded("vqa", image=picture(20), question="is it bright?", answer="no"),
        encoded("vqa", image=picture(20), question="is it dark?", answer="yes"),
    ]


def batch_of(sequences, config):
    """One sequence a row, padded."""
    length = max(map(len, sequences))
    padded = [sequence.pad(length) for sequence in sequences]
    tokens = np.stack([sequence.ids for sequence in padded])
    predicted = np.stack([sequence.loss_mask for sequence in padded])[:, 1:]
    place = np.arange(tokens.size).reshape(tokens.shape)
    chunks = [Chunk.of_sequence(sequence, config.quantization) for sequence in sequences]
    return {
        "tokens": tokens,
        "local_positions": np.stack([sequence.local_positions for sequence in padded]),
        "segments": np.stack([np.arange(length) < len(sequence) for sequence in sequences]).astype(np.int32),
        "targets": np.roll(tokens, -1, axis=1),
        "target_index": place[:, :-1][predicted == 1].astype(np.int32),
        "patches": np.concatenate([sequence.patches for sequence in sequences]),
        "patch_index": np.concatenate(
            [chunk.places + length * row for row, chunk in enumerate(chunks) if len(chunk.places)]
        ).astype(np.int32),
        "patch_intervals": np.concatenate([chunk.intervals for chunk in chunks]),
    }


@pytest.fixture(scope="module")
def model(tokenizer):
    keras.utils.set_random_seed(0)
    model = toy_model(vocabulary_size=tokenizer.vocabulary.size, stochastic_depth=0.0, sequence_length=32)
    model.compile(keras.optimizers.Adam(1e-2))
    batch = batch_of(samples(tokenizer), CONFIG)
    model.fit(tf.data.Dataset.from_tensors(batch).repeat(160), shuffle=False, verbose=0)
    return model


@pytest.fixture(scope="module")
def generator(model, tokenizer):
    return Generator(model, tokenizer)


def test_it_writes_what_it_learnt(generator):
    assert generator.continue_text("the red") == "the red ball is here"
    assert generator.caption(picture(20)) == "a dark square"
    assert generator.caption(picture(230)) == "a bright square"
    assert generator.answer(picture(20), "is it bright?") == "no"
    assert generator.answer(picture(20), "is it dark?") == "yes"


def test_a_limit_cuts(generator, tokenizer):
    start = generator.start(SPECS["text"], "the red")
    pieces = list(generator.pieces(start, 99))
    assert list(generator.pieces(start, 2)) == pieces[:2]
    assert generator.text.end_id not in pieces
    assert len(pieces) > 2


def test_draws_are_pieces_and_follow_the_seed(model, tokenizer):
    hot = Generator(model, tokenizer, temperature=100.0)
    start = hot.start(SPECS["text"], "the")
    drawn = list(hot.pieces(start, 40, seed=1))  # beyond the context of 32, too
    assert drawn == list(hot.pieces(start, 40, seed=1)) != list(hot.pieces(start, 40, seed=2))
    assert all(0 <= piece < tokenizer.text.vocabulary_size for piece in drawn)
    one = Generator(model, tokenizer, temperature=100.0, top_k=1)
    assert one.caption(picture(20)) == "a dark square"


@pytest.mark.parametrize("name", ["evaluate", "generate"])
def test_a_checkpoint_that_is_no_run(name, tmp_path, capsys):
    (tmp_path / "data" / "1.0.0").mkdir(parents=True)
    (tmp_path / "data" / "1.0.0" / "manifest.json").touch()
    words = {"evaluate": ["--env", "CartPole-v1"], "generate": ["--text", "a"]}[name]
    for path, what in (
        ("nope", "there is nothing"),
        ("data", f"it is a folder of datasets, for example {tmp_path}/data/1.0.0"),
        ("data/1.0.0", "it is a dataset"),
        ("data/1.0.0/manifest.json", "it is a file"),
    ):
        assert main([name, "--checkpoint", str(tmp_path / path), *words]) == 2
        said = capsys.readouterr().err
        assert (
            said == f"gato-model {name}: {tmp_path / path} is not the folder of a training run or an export: {what}\n"
        )


def test_nothing_to_start_from(generator):
    with pytest.raises(ValueError, match="nothing to start from"):
        generator.continue_text("")


def test_another_vocabulary(tokenizer):
    with pytest.raises(ValueError, match="the tokenizer has 33025 ids, the model 42"):
        Generator(toy_model(), tokenizer)


def test_a_model_without_text():
    specs = DatasetTokenizer({"toy": SPEC}, VOCABULARY)
    with pytest.raises(ValueError, match="this model knows no text: its tasks are toy"):
        Generator(toy_model(), specs)


@pytest.mark.parametrize("options", [{"temperature": -1.0}, {"temperature": float("nan")}, {"top_k": -1}])
def test_numbers(model, tokenizer, options):
    with pytest.raises(ValueError, match="must be 0 or more"):
        Generator(model, tokenizer, **options)


def test_pictures_of_several_specs_are_ambiguous(model):
    specs = {"one": EpisodeSpec.caption(IMAGE), "two": EpisodeSpec.caption()}
    with pytest.raises(ValueError, match="several specs"):
        Generator(model, DatasetTokenizer.for_specs(specs)).caption(picture(20))


class TestCommand:
    @pytest.fixture(autouse=True)
    def run_folder(self, monkeypatch, tmp_path, model, tokenizer):
        """A run's folder but for its weights."""
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "config.json").touch()
        tokenizer.save(tmp_path / "run")
        loaded = []
        monkeypatch.setattr(
            generator_module, "load_model", lambda folder, which: loaded.append((folder.name, which)) or model
        )
        self.folder, self.loaded = tmp_path, loaded
        (tmp_path / "dark.png").write_bytes(picture(20))

    def run(self, *words):
        parser = CommandParser()
        arguments.generate(parser)
        parsed = parser.parse_args(["--checkpoint", str(self.folder / "run"), *words])
        return generate.run(parsed, Output.of("gato-model generate", parsed))

    @pytest.mark.parametrize(
        ("words", "written"),
        [
            (["--text", "the red"], "the red ball is here"),
            (["--image", "dark.png"], "a dark square"),
            (["--image", "dark.png", "--question", "is it dark?"], "yes"),
            (["--text", "the red", "--max-tokens", "1"], "the red ball"),
            (["--text", "the red", "--temperature", "99", "--top-k", "1"], "the red ball is here"),
        ],
    )
    def test_what_is_printed(self, capsys, monkeypatch, words, written):
        monkeypatch.chdir(self.folder)
        assert self.run(*words) == 0
        assert capsys.readouterr().out == written + "\n"
        assert self.loaded == [("run", "best")]

    def test_which_and_seed(self, capsys):
        outs = []
        for seed in ("1", "1", "2"):
            assert self.run("--text", "a", "--temperature", "99", "--seed", seed, "--which", "last") == 0
            outs.append(capsys.readouterr().out)
        assert outs[0] == outs[1] != outs[2]
        assert self.loaded[0] == ("run", "last")

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            ([], "give --text to continue a text, or --image"),
            (["--text", "a", "--image", "dark.png"], "give --text"),
            (["--text", "a", "--question", "b"], "--question needs --image"),
            (["--image", "none.png"], "none.png"),
            (["--image", "run/tokenizer/spec.json"], "image"),
        ],
    )
    def test_refusals(self, capsys, monkeypatch, words, message):
        monkeypatch.chdir(self.folder)
        assert self.run(*words) == 2
        error = capsys.readouterr().err
        assert error.startswith("gato-model generate: ")
        assert message in error
