"""EpisodeTokenizer: an episode to its token sequence and back, and ids to an action."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gato_tokenize.arrays import plain_array
from gato_tokenize.defaults import LOCAL_POSITIONS
from gato_tokenize.episode import Episode, EpisodeMetadata
from gato_tokenize.field_spec import ContinuousSpec, DiscreteSpec, ImageSpec, TextSpec
from gato_tokenize.fields import Encoded, ImageField, TextField
from gato_tokenize.layout import Arrangement, Slot, arrange, image_grids, locate, slots
from gato_tokenize.modalities.continuous import ContinuousTokenizer
from gato_tokenize.modalities.discrete import DiscreteTokenizer
from gato_tokenize.modalities.image import PATCH
from gato_tokenize.modalities.text import TextTokenizer
from gato_tokenize.sequence import TokenSequence
from gato_tokenize.spec import EpisodeSpec, flatten, match_keys, unflatten
from gato_tokenize.steps import tuple_to_dict
from gato_tokenize.vocabulary import Kind, Vocabulary


class EpisodeTokenizer:
    """Tokens of the episodes of one spec, in the paper's order (section 2.1): `encode` and `decode` are inverses.

    spec: the task's fields. vocabulary: the id ranges. text: for fields of text; the shipped model by default.
    local_positions: the rows that the model will have for positions inside a timestep. A timestep with more
    observation tokens is refused here, before a dataset is made that no model of that size can read.

    >>> from gato_tokenize import ContinuousSpec, Episode
    >>> spec = EpisodeSpec({"proprio": ContinuousSpec(3)}, ContinuousSpec(2))
    >>> tokenizer = EpisodeTokenizer(spec)
    >>> tokenizer.encode(Episode(spec, {"proprio": [[0, 1, -5]]}, [[0.25, -1]])).ids.tolist()
    [32512, 32744, 32198, 33024, 32640, 32000]
    >>> tokenizer.decode_action([32640, 32000]).tolist()
    [0.2509765625, -0.9990234375]

    Raises ValueError if the spec does not fit the vocabulary, the text model or the local positions.
    """

    def __init__(
        self,
        spec: EpisodeSpec,
        vocabulary: Vocabulary | None = None,
        text: TextTokenizer | None = None,
        local_positions: int = LOCAL_POSITIONS,
    ) -> None:
        self.spec = spec
        self.vocabulary = vocabulary or Vocabulary()
        self.local_positions = local_positions
        self.slots = slots(spec)
        if text is None and any(isinstance(field, TextSpec) for field in spec.fields.values()):
            text = TextTokenizer()
        if text is not None and text.vocabulary_size > self.vocabulary.text_size:
            raise ValueError(
                f"the text model has {text.vocabulary_size} pieces, the vocabulary {self.vocabulary.text_size} text"
                f" ids: set the vocabulary's text_size to {text.vocabulary_size}"
            )
        self.text = text
        self._fields = {slot.path: self._tokenizer(slot) for slot in self.slots if slot.path}
        least = sum(slot.length or 0 for slot in self._observation_slots)
        if spec.timesteps and least > local_positions:
            raise ValueError(self._too_long(least))

    def __repr__(self) -> str:
        return f"<EpisodeTokenizer of {', '.join(self.spec.fields)}>"

    def encode(self, episode: Episode) -> TokenSequence:
        """The tokens of a whole episode. Only texts and pictures of any size need a Python loop over timesteps.

        Raises ValueError that starts with the path of the field that cannot be encoded.
        """
        return self.encode_batch([episode])[0]

    def encode_batch(self, episodes: Sequence[Episode]) -> list[TokenSequence]:
        """`encode` each episode; documents are encoded together, which is faster. Raises as `encode` does."""
        for episode in episodes:
            if episode.spec is not self.spec and episode.spec != self.spec:
                raise ValueError("the episode was made for another spec than this tokenizer's")
        if not self.spec.is_document:
            return [self._encode(episode.fields, episode.num_steps, self.slots) for episode in episodes]
        slot = self.slots[0]
        try:
            rows = self._fields[slot.path].encode_each([episode.fields[slot.path][0] for episode in episodes])
        except (ValueError, TypeError) as error:
            raise _named(slot.path, error) from error
        return [TokenSequence.document(ids, slot.loss) for ids in rows]

    def encode_observation(self, observation: Any) -> TokenSequence:
        """The tokens of one observation and the separator after it: what a policy appends before it acts."""
        observation = tuple_to_dict(observation)
        match_keys(self.spec.observation, observation, "observation")
        fields = flatten(observation, "observation")
        specs = self.spec.observation_fields
        stacked = {path: _stack(specs[path].validate(fields[path], path)) for path in specs}
        return self._encode(stacked, 1, tuple(slot for slot in self.slots if not slot.action))

    @property
    def action_ranges(self) -> NDArray[np.int32]:
        """int32[n, 2]: the legal ids of each action token, from the first to one past the last.

        Raises ValueError if an action has a text: its length is not known before it is sampled.
        """
        ranges: list[NDArray[np.int32]] = []
        for slot in self._action_slots:
            field = self.spec.fields[slot.path]
            if isinstance(field, ContinuousSpec):
                ids = self.vocabulary.continuous
                ranges.append(np.tile(np.array([ids.start, ids.stop], np.int32), (slot.length or 0, 1)))
            elif isinstance(field, DiscreteSpec):
                start = self.vocabulary.discrete.start
                sizes = np.broadcast_to(field.bounds()[1], field.shape).ravel()
                ranges.append(np.stack([np.full_like(sizes, start), start + sizes], axis=1).astype(np.int32))
        return np.concatenate(ranges) if ranges else np.zeros((0, 2), np.int32)

    def decode_action(self, ids: Any) -> Any:
        """The action of int[n] ids, one for each row of `action_ranges`: float32 and int64 arrays, nested as in the
        spec. Raises ValueError naming the field of an id that is not legal there."""
        array = plain_array(ids, name="id")
        if array.shape != (len(self.action_ranges),):
            raise ValueError(f"an action of this task has {len(self.action_ranges)} ids, got shape {list(array.shape)}")
        lengths = [slot.length or 0 for slot in self._action_slots]
        parts = np.split(array, np.cumsum(lengths)[:-1])
        values = {
            slot.path: self._decode_values(slot.path, part, 1)[0]
            for slot, part in zip(self._action_slots, parts, strict=True)
        }
        return unflatten(values, "action")

    def decode(
        self,
        sequence: TokenSequence,
        metadata: EpisodeMetadata | None = None,
        rewards: NDArray[np.float32] | None = None,
    ) -> Episode:
        """The episode of a whole sequence: text and discrete values exactly, images as they were after any resize,
        continuous values as the centres of their bins. `metadata` and `rewards` are those of its record.

        Raises ValueError if the tokens do not follow the layout of the spec.
        """
        found = locate(self.slots, sequence)
        values = {slot.path: self._decode_slot(slot, found, sequence) for slot in self.slots}
        values.pop("", None)  # the separator
        trees = (unflatten(values, "observation"), unflatten(values, "action"))
        return Episode(self._decoded_spec(), *trees, metadata or EpisodeMetadata(), rewards=rewards)

    def field_tokenizer(self, path: str) -> Any:
        """The tokenizer of a field's modality, with the bounds and the role that the field has here.

        Raises KeyError listing the fields if there is none of this path.
        """
        if path not in self._fields:
            raise KeyError(f"no field {path!r}; fields: {', '.join(self._fields)}")
        field = self._fields[path]
        return field.tokenizer if isinstance(field, TextField | ImageField) else field

    def clipped(self, episode: Episode) -> dict[str, int]:
        """{path: how many values of a continuous field are beyond its bins, and so fall into the first or last}."""
        return {
            path: int(np.count_nonzero(tokenizer.clipped(episode.fields[path])))
            for path, tokenizer in self._fields.items()
            if isinstance(tokenizer, ContinuousTokenizer)
        }

    @property
    def _observation_slots(self) -> list[Slot]:
        return [slot for slot in self.slots if slot.path and not slot.action]

    @property
    def _action_slots(self) -> list[Slot]:
        slots = [slot for slot in self.slots if slot.action]
        for slot in slots:
            if slot.length is None:
                raise ValueError(f"{slot.path}: a text action has no fixed number of ids")
        return slots

    def _too_long(self, tokens: int) -> str:
        largest = max(self._observation_slots, key=lambda slot: slot.length or 0)
        most = f" ({largest.length} of them {largest.path}, {largest.kind.name.lower()})" if largest.length else ""
        return (
            f"observation: {tokens} tokens in a timestep{most}, but {self.local_positions} local positions: make the"
            " pictures or texts smaller (pictures by resize=HEIGHTxWIDTH in a source's options), or raise"
            " local_positions here and in the model (gato-data convert"
            f" --local-positions {tokens}; a model that is trained on that data follows)"
        )

    def _tokenizer(self, slot: Slot) -> Any:
        field = self.spec.fields[slot.path]
        try:
            if isinstance(field, ContinuousSpec):
                low, high = field.bounds() if slot.action else (-1.0, 1.0)
                return ContinuousTokenizer(companded=not slot.action, low=low, high=high, vocabulary=self.vocabulary)
            if isinstance(field, DiscreteSpec):
                low, size = field.bounds()
                return DiscreteTokenizer(size, low, vocabulary=self.vocabulary)
            if isinstance(field, ImageSpec):
                return ImageField(field)
            assert self.text is not None
            return TextField(self.text, ends=not self.spec.timesteps and slot.loss)  # only a sample's texts end
        except ValueError as error:
            raise ValueError(f"{slot.path}: {error}") from error

    def _encode(self, fields: Mapping[str, Any], steps: int, slots: tuple[Slot, ...]) -> TokenSequence:
        encoded: dict[str, Encoded] = {}
        for slot in slots:
            try:
                encoded[slot.path] = self._encode_field(slot, fields.get(slot.path))
            except (ValueError, TypeError) as error:
                raise _named(slot.path, error) from error
        arrangement = arrange(slots, {path: field.lengths for path, field in encoded.items()}, steps)
        self._check_length(arrangement)
        patches, grids, files = _images(encoded, arrangement)
        return TokenSequence(
            arrangement.fill({path: field.ids for path, field in encoded.items()}, np.int32),  # type: ignore[arg-type]
            arrangement.fill({slot.path: int(slot.kind) for slot in slots}, np.uint8),  # type: ignore[arg-type]
            arrangement.fill({slot.path: int(slot.loss) for slot in slots}, np.uint8),  # type: ignore[arg-type]
            arrangement.step_splits,
            patches,
            grids,
            files,
        )

    def _encode_field(self, slot: Slot, value: Any) -> Encoded:
        if slot.kind == Kind.SEPARATOR:
            return Encoded(self.vocabulary.separator, 1)
        field = self._fields[slot.path]
        if isinstance(field, TextField | ImageField):
            return field.encode(value)
        return Encoded(field.encode(value), slot.length or 0)

    def _check_length(self, arrangement: Arrangement) -> None:
        if not self.spec.timesteps:
            return
        tokens = arrangement.starts[""] - arrangement.step_splits[:-1]  # before the separator
        if tokens.max() > self.local_positions:
            raise ValueError(self._too_long(int(tokens.max())))

    def _decode_slot(self, slot: Slot, found: Arrangement, sequence: TokenSequence) -> Any:
        places = found.places(slot.path)
        if (sequence.kinds[places] != int(slot.kind)).any():
            raise ValueError(f"{slot.path or 'separator'}: the sequence does not follow the layout of this spec")
        if slot.kind == Kind.SEPARATOR:
            return None
        field = self._fields[slot.path]
        if isinstance(field, TextField):
            return field.decode(sequence.ids[places], np.asarray(found.lengths[slot.path]))
        if isinstance(field, ImageField):
            patch_number = np.cumsum(sequence.kinds == int(Kind.PATCH)) - 1
            pixels = sequence.patches[patch_number[places]]
            return field.decode(pixels, image_grids(self.slots, sequence)[slot.path])
        return self._decode_values(slot.path, sequence.ids[places], sequence.num_steps)

    def _decode_values(self, path: str, ids: NDArray[Any], steps: int) -> Any:
        field = self.spec.fields[path]
        assert isinstance(field, ContinuousSpec | DiscreteSpec)
        try:
            return self._fields[path].decode(ids.reshape(steps, *field.shape))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def _decoded_spec(self) -> EpisodeSpec:
        """The spec of what `decode` gives: it differs in pictures that were resized or had an alpha channel."""
        fields = self.spec.fields
        for path, field in self._fields.items():
            if isinstance(field, ImageField):
                fields[path] = field.decoded_spec
        return EpisodeSpec(unflatten(fields, "observation"), unflatten(fields, "action"), self.spec.timesteps)


def _named(path: str, error: Exception) -> ValueError:
    message = str(error)
    return ValueError(message if message.startswith(path) else f"{path}: {message}")


def _stack(value: Any) -> Any:
    return value[None] if isinstance(value, np.ndarray) else [value]


def _images(
    encoded: Mapping[str, Encoded], arrangement: Arrangement
) -> tuple[NDArray[np.uint8], NDArray[np.int32], tuple[bytes, ...]]:
    """The patches and grids of all image fields in token order, and the files if every image has one."""
    fields = {path: field for path, field in encoded.items() if field.patches is not None and field.grids is not None}
    if not fields:
        return np.zeros((0, PATCH, PATCH, 3), np.uint8), np.zeros((0, 2), np.int32), ()
    grids = np.stack([field.grids for field in fields.values()], axis=1).reshape(-1, 2)  # type: ignore[misc]
    files = [file for step in zip(*(field.files for field in fields.values()), strict=True) for file in step]
    patches = [field.patches for field in fields.values() if field.patches is not None]
    if len(patches) > 1 and all(isinstance(field.lengths, int) for field in fields.values()):
        steps = [part.reshape(arrangement.steps, -1, PATCH, PATCH, 3) for part in patches]
        patches = [np.concatenate(steps, axis=1).reshape(-1, PATCH, PATCH, 3)]
    elif len(patches) > 1:  # fields take turns at every timestep
        order = np.argsort(np.concatenate([arrangement.places(path) for path in fields]))
        patches = [np.concatenate(patches)[order]]
    known = tuple(file for file in files if file is not None)
    return patches[0], grids, known if len(known) == len(files) else ()
