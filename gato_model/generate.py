"""The command `generate`: continue a text, caption a picture, answer a question about one."""

import argparse
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from gato_model.checkpoint import CheckpointError, load
from gato_model.decoder import Decoder
from gato_model.model import Gato
from gato_model.token_chunk import Chunk, batch
from gato_tokenize import Episode, EpisodeSpec, EpisodeTokenizer, TextTokenizer, TokenSequence
from gato_tokenize.dataset import DatasetTokenizer
from gato_tokenize.sequence import NO_POSITION

EXIT_REFUSED = 2


class Generator:
    """Text behind a sequence, piece by piece, by the cached decoder; beyond the context by Transformer-XL's memory.

    temperature: 0 takes the likeliest piece, else pieces are drawn, among the `top_k` likeliest where that is not 0.

    Raises ValueError where the tokenizer's ids are not the model's, or a number makes no sense.
    """

    def __init__(self, model: Gato, tokenizer: DatasetTokenizer, temperature: float = 0.0, top_k: int = 0) -> None:
        if tokenizer.vocabulary.size != model.config.vocabulary_size:
            ids, rows = tokenizer.vocabulary.size, model.config.vocabulary_size
            raise ValueError(f"the tokenizer has {ids} ids, the model {rows}: they do not belong together")
        if not 0 <= temperature < math.inf or top_k < 0:
            raise ValueError(f"temperature and top_k must be 0 or more, not {temperature} and {top_k}")
        self.text: TextTokenizer = tokenizer.text or TextTokenizer()
        self.tokenizer, self._quantization = tokenizer, model.config.quantization
        self._decoder = Decoder(model)
        choose = self._decoder.choose
        self._choose = tf.function(
            lambda hidden: choose(hidden, 0, self.text.vocabulary_size, tf.constant(temperature), top_k),
            autograph=False,
        )

    def pieces(self, start: TokenSequence, max_tokens: int, seed: int = 0) -> Iterator[int]:
        """Ids of text pieces behind `start`, up to the end piece, which is left out, or `max_tokens` of them.

        Raises ValueError where there is nothing to start from.
        """
        if not len(start):
            raise ValueError("nothing to start from: give some text, or a picture")
        self._decoder.reset(np.zeros(1, np.int32), np.array([seed], np.int32))
        chunk = Chunk.of_sequence(start, self._quantization)
        for _ in range(max_tokens):
            piece = int(self._choose(self._append(chunk))[0])
            if piece == self.text.end_id:
                return
            yield piece
            chunk = Chunk.of_ids([piece], NO_POSITION)

    def continue_text(self, text: str, max_tokens: int = 100, seed: int = 0) -> str:
        """The text, and what follows."""
        start = self._start(EpisodeSpec.document(), text)
        return self.text.decode([*start.ids.tolist(), *self.pieces(start, max_tokens, seed)])

    def caption(self, image: bytes, max_tokens: int = 100, seed: int = 0) -> str:
        """What a picture, the bytes of its file, shows."""
        start = self._start(self._spec(EpisodeSpec.caption()), image, "")
        return self.text.decode(list(self.pieces(start, max_tokens, seed)))

    def answer(self, image: bytes, question: str, max_tokens: int = 100, seed: int = 0) -> str:
        """The answer to a question about a picture."""
        start = self._start(self._spec(EpisodeSpec.question_answer()), image, question, "")
        return self.text.decode(list(self.pieces(start, max_tokens, seed)))

    def _spec(self, usual: EpisodeSpec) -> EpisodeSpec:
        """The spec that the model was trained with, which knows the pictures' size; the usual one where there is none.

        Raises ValueError where there are several.
        """
        specs = self.tokenizer.specs.values()
        known = [spec for spec in specs if not spec.timesteps and list(spec.fields) == list(usual.fields)]
        if any(spec != known[0] for spec in known):
            raise ValueError(f"this model was trained on pictures of several specs, of the fields {list(usual.fields)}")
        return known[0] if known else usual

    def _start(self, spec: EpisodeSpec, *values: Any) -> TokenSequence:
        """The tokens of a sample whose last text is still to be written: without its end piece."""
        tokenizer = EpisodeTokenizer(spec, self.tokenizer.vocabulary, self.text)
        fields = {key: [value] for key, value in zip(spec.observation, values, strict=True)}
        whole = tokenizer.encode(Episode(spec, fields))
        length = len(whole) - 1
        tokens = {name: getattr(whole, name)[:length] for name in ("ids", "kinds", "loss_mask")}
        return TokenSequence(**tokens, step_splits=np.array([0, length]), patches=whole.patches, grids=whole.grids)

    def _append(self, chunk: Chunk) -> tf.Tensor:
        hidden, longest = None, self._decoder.longest
        for start in range(0, len(chunk), longest):
            hidden = self._decoder.append(*batch({0: chunk.cut(start, start + longest)}, 1).values())
        return hidden


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--checkpoint", required=True, type=Path, metavar="RUN", help="folder of a training run")
    add("--which", choices=("best", "last"), default="best", help="checkpoint (default: best)")
    add("--text", metavar="TEXT", help="text to continue")
    add("--image", type=Path, metavar="FILE", help="picture to caption, or to ask about")
    add("--question", metavar="TEXT", help="about the picture")
    add("--max-tokens", type=int, default=100, metavar="N", help="pieces at most (default 100)")
    add("--temperature", type=float, default=0.0, metavar="T", help="0 takes the likeliest piece (default)")
    add("--top-k", type=int, default=0, metavar="K", help="draw among the K likeliest; 0: among all (default)")
    add("--seed", type=int, default=0, metavar="N", help="of the draws (default 0)")


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit code: 0, or 2 where it was refused."""
    try:
        _check(arguments)
        generator = Generator(
            load(arguments.checkpoint, arguments.which),
            DatasetTokenizer.load(arguments.checkpoint),
            arguments.temperature,
            arguments.top_k,
        )
        print(_written(generator, arguments))
    except (ValueError, OSError, CheckpointError) as error:
        print(f"gato-model generate: {error}", file=sys.stderr)
        return EXIT_REFUSED
    return 0


def _check(arguments: argparse.Namespace) -> None:
    if (arguments.text is None) == (arguments.image is None):
        raise ValueError("give --text to continue a text, or --image to caption a picture or, with --question, ask")
    if arguments.question is not None and arguments.image is None:
        raise ValueError("--question needs --image: it is asked about a picture")
    if arguments.max_tokens < 1:
        raise ValueError(f"--max-tokens must be at least 1, not {arguments.max_tokens}")


def _written(generator: Generator, arguments: argparse.Namespace) -> str:
    limits = arguments.max_tokens, arguments.seed
    if arguments.text is not None:
        return generator.continue_text(arguments.text, *limits)
    picture = arguments.image.read_bytes()
    if arguments.question is None:
        return generator.caption(picture, *limits)
    return generator.answer(picture, arguments.question, *limits)
