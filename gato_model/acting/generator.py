"""Generator: continue a text, caption an image, answer a question about one, piece by piece."""

import math
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from gato_model.acting.chunk import Chunk, batch
from gato_model.acting.decoder import Decoder
from gato_model.acting.pretrained import Which, load_model
from gato_model.network.model import Gato
from gato_model.shipped import model_path
from gato_tokenize import Episode, EpisodeSpec, EpisodeTokenizer, TextTokenizer, TokenSequence
from gato_tokenize.sequence import NO_POSITION
from gato_tokenize.storage.dataset import DatasetTokenizer


class Generator:
    """Text after a sequence, piece by piece, by the decoder; beyond the context by Transformer-XL's memory.

    temperature: 0 takes the likeliest piece, otherwise pieces are drawn
    top_k: draw from so many of the likeliest pieces; 0: from all

    Raises ValueError if the tokenizer's ids are not the model's or leave no room for text, or a number is out of range.
    """

    def __init__(self, model: Gato, tokenizer: DatasetTokenizer, temperature: float = 0.0, top_k: int = 0) -> None:
        if tokenizer.vocabulary.size != model.config.vocabulary_size:
            ids, rows = tokenizer.vocabulary.size, model.config.vocabulary_size
            raise ValueError(
                f"the tokenizer has {ids} ids, the model {rows}: they do not belong together; a run's"
                " folder holds the tokenizer that its model was trained with"
            )
        if not 0 <= temperature < math.inf or top_k < 0:
            raise ValueError(f"temperature and top_k must be 0 or more, not {temperature} and {top_k}")
        self.text: TextTokenizer = tokenizer.text or TextTokenizer()
        if self.text.vocabulary_size > tokenizer.vocabulary.text_size:
            raise ValueError(f"this model knows no text: its tasks are {', '.join(tokenizer.specs)}")
        self.tokenizer, self._quantization = tokenizer, model.config.quantization
        self._decoder = Decoder(model)
        choose = self._decoder.choose
        self._choose = tf.function(
            lambda hidden: choose(hidden, 0, self.text.vocabulary_size, tf.constant(temperature), top_k),
            autograph=False,
        )

    @classmethod
    def from_pretrained(
        cls, folder: "str | os.PathLike[str]", which: Which = "best", temperature: float = 0.0, top_k: int = 0
    ) -> "Generator":
        """Load a generator from a training run's folder, from an export, or from "demo", the model that comes with this
        package. Raises CheckpointError if it is none of them."""
        return cls(load_model(folder, which), DatasetTokenizer.load(model_path(folder)), temperature, top_k)

    def pieces(self, start: TokenSequence, max_tokens: int, seed: int = 0) -> Iterator[int]:
        """Generate the ids of the text pieces after `start`: up to the end piece (exclusive), at most `max_tokens`.

        seed: of the draws, below 2^31. Raises ValueError if `start` is empty.
        """
        if not len(start):
            raise ValueError("nothing to start from: give some text, or a picture")
        self._decoder.reset(np.zeros(1, np.int32), np.array([seed], np.int32))
        hidden = self._read(Chunk.of_sequence(start, self._quantization))
        for _ in range(max_tokens):
            piece = self._choose(hidden)
            if int(piece[0]) == self.text.end_id:
                return
            yield int(piece[0])
            hidden = self._decoder.append_one(piece, tf.constant([NO_POSITION]), tf.constant([1]))

    def continue_text(self, text: str, max_tokens: int = 100, seed: int = 0) -> str:
        """Return the text and its continuation."""
        start = self.start(EpisodeSpec.document(), text)
        return self.text.decode([*start.ids.tolist(), *self.pieces(start, max_tokens, seed)])

    def caption(self, image: bytes, max_tokens: int = 100, seed: int = 0) -> str:
        """Caption a picture, given as the bytes of its file."""
        start = self.start(self._spec(EpisodeSpec.caption()), image, "")
        return self.text.decode(list(self.pieces(start, max_tokens, seed)))

    def answer(self, image: bytes, question: str, max_tokens: int = 100, seed: int = 0) -> str:
        """Answer a question about a picture, given as the bytes of its file."""
        start = self.start(self._spec(EpisodeSpec.question_answer()), image, question, "")
        return self.text.decode(list(self.pieces(start, max_tokens, seed)))

    def _spec(self, usual: EpisodeSpec) -> EpisodeSpec:
        """Find the spec that the model was trained with, which knows the pictures' size; else return the usual one.

        Raises ValueError if there are several.
        """
        specs = self.tokenizer.specs.values()
        known = [spec for spec in specs if not spec.timesteps and list(spec.fields) == list(usual.fields)]
        if any(spec != known[0] for spec in known):
            raise ValueError(f"this model was trained on pictures of several specs, of the fields {list(usual.fields)}")
        return known[0] if known else usual

    def start(self, spec: EpisodeSpec, *values: Any) -> TokenSequence:
        """Return the tokens of a sample, given the values of its fields in order, without its last end piece.

        The last text, of which `values` hold the beginning, is still to be written.
        """
        tokenizer = EpisodeTokenizer(spec, self.tokenizer.vocabulary, self.text)
        fields = {key: [value] for key, value in zip(spec.observation, values, strict=True)}
        whole = tokenizer.encode(Episode(spec, fields))
        length = len(whole) - 1
        tokens = {name: getattr(whole, name)[:length] for name in ("ids", "kinds", "loss_mask")}
        return TokenSequence(**tokens, step_splits=np.array([0, length]), patches=whole.patches, grids=whole.grids)

    def _read(self, chunk: Chunk) -> tf.Tensor:
        hidden, longest = None, self._decoder.longest
        for start in range(0, len(chunk), longest):
            hidden = self._decoder.append(*batch({0: chunk.slice(start, start + longest)}, 1).values())
        return hidden
