"""EpisodeTokenizer: an episode to its token sequence and back, and an action from ids."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gato_tokenize.episode import Episode, EpisodeMetadata
from gato_tokenize.field_spec import ContinuousSpec, DiscreteSpec, ImageSpec, TextSpec
from gato_tokenize.layout import Arrangement, Slot, arrange, slots
from gato_tokenize.modalities.continuous import ContinuousTokenizer
from gato_tokenize.modalities.discrete import DiscreteTokenizer
from gato_tokenize.modalities.image import PATCH, ImageTokenizer, Patches, target_size
from gato_tokenize.modalities.text import TextTokenizer
from gato_tokenize.sequence import TokenSequence
from gato_tokenize.spaces import tuple_to_dict
from gato_tokenize.spec import EpisodeSpec, flatten, match_keys, unflatten
from gato_tokenize.vocabulary import Kind, Vocabulary

LOCAL_POSITIONS = 512  # rows of the model's table of local positions (paper appendix C.3)


@dataclasses.dataclass(frozen=True)
class _Encoded:
    """One field's tokens: ids (0 for patches), how many in each timestep, and the images where it is one."""

    ids: "int | NDArray[np.int32]"
    lengths: "int | NDArray[np.int64]"
    patches: NDArray[np.uint8] | None = None
    grids: NDArray[np.int32] | None = None  # int32[T, 2]
    files: tuple[bytes | None, ...] = ()  # the image's own bytes, where a plain decoder gives `patches`


class EpisodeTokenizer:
    """Tokens of the episodes of one spec, in the paper's order (section 2.1): `encode` and `decode` are inverses.

    spec: the task's fields. vocabulary: id ranges. text: needed where a field is text; the shipped model by default.
    local_positions: rows that the model will have for positions inside a timestep; a timestep of more observation
    tokens is refused here, before a dataset is made that no model of that size can read.

    >>> from gato_tokenize import ContinuousSpec, Episode
    >>> spec = EpisodeSpec({"proprio": ContinuousSpec(3)}, ContinuousSpec(2))
    >>> tokenizer = EpisodeTokenizer(spec)
    >>> tokenizer.encode(Episode(spec, {"proprio": [[0, 1, -5]]}, [[0.25, -1]])).ids.tolist()
    [32512, 32744, 32198, 33024, 32640, 32000]
    >>> tokenizer.decode_action([32640, 32000]).tolist()
    [0.2509765625, -0.9990234375]

    Raises ValueError where the spec does not fit the vocabulary, the text model or the local positions.
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
                f" ids: use Vocabulary(text_size={text.vocabulary_size})"
            )
        self.text = text
        self._fields = {slot.path: self._tokenizer(slot) for slot in self.slots if slot.path}
        least = sum(slot.length or 0 for slot in self._observation_slots)
        if spec.timesteps and least > local_positions:
            raise ValueError(self._too_long(least))

    def encode(self, episode: Episode) -> TokenSequence:
        """The tokens of a whole episode; no Python loop over timesteps except for texts and pictures of any size.

        Raises ValueError that starts with the path of the field that cannot be encoded.
        """
        if episode.spec != self.spec:
            raise ValueError("the episode was made for another spec than this tokenizer's")
        return self._encode(episode.fields, episode.num_steps, self.slots)

    def encode_observation(self, observation: Any) -> TokenSequence:
        """The tokens of one observation and the separator behind it: what a policy appends before it acts."""
        observation = tuple_to_dict(observation)
        match_keys(self.spec.observation, observation, "observation")
        fields = flatten(observation, "observation")
        specs = self.spec.observation_fields
        stacked = {path: _stack(specs[path].validate(fields[path], path)) for path in specs}
        return self._encode(stacked, 1, tuple(slot for slot in self.slots if not slot.action))

    @property
    def action_ranges(self) -> NDArray[np.int32]:
        """int32[n, 2]: the legal ids of each action token, first and one past the last.

        Raises ValueError where an action is text: its length is not known before it is sampled.
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
        """The action of int[n] ids, one for each row of `action_ranges`: float32 and int64 arrays, nested as the spec
        says. Raises ValueError naming the field where an id is not legal for its slot."""
        array = np.asarray(ids)
        if array.shape != (len(self.action_ranges),):
            raise ValueError(f"an action of this task has {len(self.action_ranges)} ids, got shape {list(array.shape)}")
        lengths = [slot.length or 0 for slot in self._action_slots]
        parts = np.split(array, np.cumsum(lengths)[:-1])
        values = {
            slot.path: self._decode_values(slot.path, part, 1)[0]
            for slot, part in zip(self._action_slots, parts, strict=True)
        }
        return unflatten(values, "action")

    def decode(self, sequence: TokenSequence, metadata: EpisodeMetadata | None = None) -> Episode:
        """The episode of a whole sequence: text and discrete values exact, images exact but for an earlier resize,
        continuous values within their bin. Raises ValueError where the tokens do not follow the spec's layout."""
        values: dict[str, Any] = {}
        found = self._locate(sequence)
        patch_number = np.cumsum(sequence.kinds == Kind.PATCH) - 1
        for slot in self.slots:
            places = found.places(slot.path)
            if (sequence.kinds[places] != slot.kind).any():
                raise ValueError(f"{slot.path or 'separator'}: the sequence does not follow the layout of this spec")
            if slot.kind == Kind.TEXT:
                values[slot.path] = self._decode_texts(slot, sequence.ids[places], found.lengths[slot.path])
            elif slot.kind == Kind.PATCH:
                pixels = sequence.patches[patch_number[places]]
                values[slot.path] = self._decode_images(slot, pixels, self._grids(slot, sequence))
            elif slot.path:
                values[slot.path] = self._decode_values(slot.path, sequence.ids[places], sequence.num_steps)
        trees = (unflatten(values, "observation"), unflatten(values, "action"))
        return Episode(self._decoded_spec(), *trees, metadata or EpisodeMetadata())

    def clipped(self, episode: Episode) -> dict[str, int]:
        """{path: how many values of each continuous field lie beyond what its bins reach}; they become the last bin."""
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
        return (
            f"observation: {tokens} tokens in a timestep, but {self.local_positions} local positions: raise"
            " local_positions (here and in the model), or make the pictures or texts smaller"
        )

    def _tokenizer(self, slot: Slot) -> Any:
        field = self.spec.fields[slot.path]
        try:
            if isinstance(field, ContinuousSpec):
                low, high = field.bounds() if slot.action else (-1.0, 1.0)
                return ContinuousTokenizer(not slot.action, low, high, vocabulary=self.vocabulary)
            if isinstance(field, DiscreteSpec):
                low, size = field.bounds()
                return DiscreteTokenizer(size, low, vocabulary=self.vocabulary)
            return ImageTokenizer(*(field.resize or ())) if isinstance(field, ImageSpec) else self.text
        except ValueError as error:
            raise ValueError(f"{slot.path}: {error}") from error

    def _encode(self, fields: Mapping[str, Any], steps: int, slots: tuple[Slot, ...]) -> TokenSequence:
        encoded: dict[str, _Encoded] = {}
        for slot in slots:
            try:
                encoded[slot.path] = self._encode_field(slot, fields.get(slot.path), steps)
            except (ValueError, TypeError) as error:
                message = str(error)
                raise ValueError(message if message.startswith(slot.path) else f"{slot.path}: {message}") from error
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

    def _encode_field(self, slot: Slot, value: Any, steps: int) -> _Encoded:
        if slot.kind == Kind.SEPARATOR:
            return _Encoded(self.vocabulary.separator, 1)
        if slot.kind == Kind.TEXT:
            return self._encode_texts(slot, value)
        if slot.kind == Kind.PATCH:
            return self._encode_images(slot, value, steps)
        return _Encoded(self._fields[slot.path].encode(value), slot.length or 0)

    def _encode_texts(self, slot: Slot, texts: Any) -> _Encoded:
        assert self.text is not None
        different = {text: i for i, text in enumerate(dict.fromkeys(texts))}  # an instruction repeats at every timestep
        pieces = self.text.encode_batch(list(different))
        if self._ends(slot):
            pieces = [np.append(ids, np.int32(self.text.end_id)) for ids in pieces]
        chosen = [pieces[different[text]] for text in texts]
        return _Encoded(np.concatenate(chosen), np.array([len(ids) for ids in chosen], np.int64))

    def _ends(self, slot: Slot) -> bool:
        """A document, a caption and an answer end with the end piece; an instruction and a question do not."""
        return not self.spec.timesteps and slot.loss

    def _encode_images(self, slot: Slot, value: Any, steps: int) -> _Encoded:
        tokenizer: ImageTokenizer = self._fields[slot.path]
        if slot.length is not None and isinstance(value, np.ndarray):
            patches = tokenizer.encode_frames(value)
            grid = self._fixed_grid(slot)
            return _Encoded(0, slot.length, patches, np.tile(np.array(grid, np.int32), (steps, 1)), (None,) * steps)
        images, files = [], []
        for picture in value:
            image, own = (
                tokenizer.encode_file(picture) if isinstance(picture, bytes) else (tokenizer.encode(picture), 0)
            )
            images.append(image)
            files.append(picture if own else None)
        grids = np.array([image.grid for image in images], np.int32)
        patches = np.concatenate([image.pixels for image in images])
        return _Encoded(0, slot.length or grids.astype(np.int64).prod(axis=1), patches, grids, tuple(files))

    def _fixed_grid(self, slot: Slot) -> tuple[int, int]:
        field = self.spec.fields[slot.path]
        assert isinstance(field, ImageSpec) and field.shape is not None
        height, width = self._decoded_shape(field)[:2]
        return height // PATCH, width // PATCH

    def _check_length(self, arrangement: Arrangement) -> None:
        if not self.spec.timesteps:
            return
        tokens = arrangement.starts[""] - arrangement.step_splits[:-1]  # up to the separator
        if tokens.max() > self.local_positions:
            raise ValueError(self._too_long(int(tokens.max())))

    def _locate(self, sequence: TokenSequence) -> Arrangement:
        """Where each slot stands in a sequence that was not arranged here: texts run as far as their kind does."""
        code = sequence.kinds.astype(np.int64) * 2 + (sequence.loss_mask != 0)
        starts_run = np.ones(len(code) + 1, bool)
        starts_run[1:-1] = code[1:] != code[:-1]
        starts_run[sequence.step_splits] = True
        borders = np.flatnonzero(starts_run)
        cursor = sequence.step_splits[:-1].copy()
        lengths: dict[str, int | NDArray[np.int64]] = {}
        for slot in self.slots:
            if slot.length is not None:
                lengths[slot.path] = slot.length
            elif slot.kind == Kind.PATCH:
                lengths[slot.path] = self._grids(slot, sequence).astype(np.int64).prod(axis=1)
            else:
                end = borders[np.searchsorted(borders, cursor, side="right").clip(max=len(borders) - 1)]
                padded = np.append(code, -1)[np.minimum(cursor, len(code))]
                inside = cursor < sequence.step_splits[1:]
                mine = inside & (padded == int(slot.kind) * 2 + slot.loss)
                lengths[slot.path] = np.where(mine, end - cursor, 0)
            cursor = cursor + lengths[slot.path]
        if (cursor != sequence.step_splits[1:]).any():
            step = int(np.flatnonzero(cursor != sequence.step_splits[1:])[0])
            raise ValueError(f"timestep {step}: the sequence does not follow the layout of this spec")
        return arrange(self.slots, lengths, sequence.num_steps)

    def grids(self, sequence: TokenSequence) -> dict[str, NDArray[np.int32]]:
        """{path: int32[T, 2]}: rows and columns of patches of each image field in each timestep."""
        return {slot.path: self._grids(slot, sequence) for slot in self.slots if slot.kind == Kind.PATCH}

    def _grids(self, slot: Slot, sequence: TokenSequence) -> NDArray[np.int32]:
        """int32[T, 2]: the grids of one image field."""
        paths = [s.path for s in self.slots if s.kind == Kind.PATCH]
        if len(sequence.grids) != len(paths) * sequence.num_steps:
            raise ValueError(f"{slot.path}: {len(sequence.grids)} images in {sequence.num_steps} timesteps")
        return sequence.grids.reshape(sequence.num_steps, len(paths), 2)[:, paths.index(slot.path)]

    def _decode_values(self, path: str, ids: NDArray[Any], steps: int) -> Any:
        field = self.spec.fields[path]
        assert isinstance(field, ContinuousSpec | DiscreteSpec)
        try:
            return self._fields[path].decode(ids.reshape(steps, *field.shape))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def _decode_texts(self, slot: Slot, ids: NDArray[np.int32], lengths: Any) -> list[str]:
        assert self.text is not None
        parts = np.split(ids, np.cumsum(lengths)[:-1])
        if self._ends(slot):
            parts = [part[:-1] if len(part) and part[-1] == self.text.end_id else part for part in parts]
        known: dict[bytes, str] = {}
        for part in parts:
            if part.tobytes() not in known:
                known[part.tobytes()] = self.text.decode(part)
        return [known[part.tobytes()] for part in parts]

    def _decode_images(self, slot: Slot, patches: NDArray[np.uint8], grids: NDArray[np.int32]) -> Any:
        field, tokenizer = self.spec.fields[slot.path], self._fields[slot.path]
        assert isinstance(field, ImageSpec)
        if slot.length is None or field.shape is None:
            parts = np.split(patches, np.cumsum(grids.astype(np.int64).prod(axis=1))[:-1])
            pairs = zip(parts, grids.tolist(), strict=True)
            return [tokenizer.decode(Patches(part, (rows, columns))) for part, (rows, columns) in pairs]
        shape = self._decoded_shape(field)
        rows, columns = shape[0] // PATCH, shape[1] // PATCH
        frames = patches.reshape(-1, rows, columns, PATCH, PATCH, 3).transpose(0, 1, 3, 2, 4, 5)
        frames = frames.reshape(-1, *shape[:2], 3)
        return frames if shape[2:] == (3,) else frames[..., 0].reshape(-1, *shape)  # grey came as three equal channels

    def _decoded_shape(self, field: ImageSpec) -> tuple[int, ...]:
        """Shape of a fixed-size image after the tokens: resized, and without its alpha channel."""
        assert field.shape is not None
        size = field.resize or target_size(*field.shape[:2])
        return (*size, *field.shape[2:]) if field.shape[2:] in ((), (1,)) else (*size, 3)

    def _decoded_spec(self) -> EpisodeSpec:
        """The spec of what `decode` gives: this one, but for pictures that were resized or had an alpha channel."""
        fields = self.spec.fields
        for slot in self.slots:
            field = fields.get(slot.path)
            if isinstance(field, ImageSpec) and field.shape is not None:
                fields[slot.path] = dataclasses.replace(field, shape=self._decoded_shape(field))
        return EpisodeSpec(unflatten(fields, "observation"), unflatten(fields, "action"), self.spec.timesteps)


def _stack(value: Any) -> Any:
    return value[None] if isinstance(value, np.ndarray) else [value]


def _images(
    encoded: Mapping[str, _Encoded], arrangement: Arrangement
) -> tuple[NDArray[np.uint8], NDArray[np.int32], tuple[bytes, ...]]:
    """Patches, grids and, where every image has one, files, of all image fields in token order."""
    fields = {path: field for path, field in encoded.items() if field.patches is not None and field.grids is not None}
    if not fields:
        return np.zeros((0, PATCH, PATCH, 3), np.uint8), np.zeros((0, 2), np.int32), ()
    grids = np.stack([field.grids for field in fields.values()], axis=1).reshape(-1, 2)  # type: ignore[misc]
    files = [file for step in zip(*(field.files for field in fields.values()), strict=True) for file in step]
    patches = [field.patches for field in fields.values() if field.patches is not None]
    if len(patches) > 1:  # fields take turns at every timestep
        order = np.argsort(np.concatenate([arrangement.places(path) for path in fields]))
        patches = [np.concatenate(patches)[order]]
    known = tuple(file for file in files if file is not None)
    return patches[0], grids, known if len(known) == len(files) else ()
