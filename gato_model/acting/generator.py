"""Generator: text that follows a text, an image or a question, piece by piece."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from gato_model.acting.chunk import Chunk, batch
from gato_model.acting.decoder import Decoder
from gato_model.network.model import Gato
from gato_tokenize import Episode, EpisodeSpec, EpisodeTokenizer, TextTokenizer, TokenSequence
from gato_tokenize.sequence import NO_POSITION
from gato_tokenize.storage.dataset import DatasetTokenizer


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
