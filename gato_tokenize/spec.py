"""The spec of a task: nested field specs of its observation and its action."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from gato_tokenize.field_spec import TYPES, FieldSpec, ImageSpec, TextSpec, check_bool


def join_path(path: str, key: str) -> str:
    """Append a key to a field's path. As in JSON pointers (RFC 6901), "~" in a key is written ~0 and "/" is ~1.

    >>> join_path("observation", "w/pos")
    'observation/w~1pos'
    """
    return f"{path}/{key.replace('~', '~0').replace('/', '~1')}"


def flatten(tree: Any, path: str, ordered: bool = True) -> dict[str, Any]:
    """Return {path: leaf} of nested mappings, with the keys of each level in code-point order, or, with
    `ordered=False`, in the order given.

    >>> flatten({"b": 1, "a": {"y": 2, "x": 3}}, "observation")
    {'observation/a/x': 3, 'observation/a/y': 2, 'observation/b': 1}
    """
    if not isinstance(tree, Mapping):
        return {path: tree}
    flat: dict[str, Any] = {}
    for key in sorted(tree) if ordered else tree:
        flat.update(flatten(tree[key], join_path(path, str(key)), ordered))
    return flat


def unflatten(flat: Mapping[str, Any], root: str) -> Any:
    """Nest what `flatten` made flat: dicts, or the leaf itself if `root` is one, or {} if nothing is below it."""
    if root in flat:
        return flat[root]
    tree: dict[str, Any] = {}
    for path, leaf in flat.items():
        if path.startswith(root + "/"):
            *branches, key = (_key(part) for part in path[len(root) + 1 :].split("/"))
            node = tree
            for branch in branches:
                node = node.setdefault(branch, {})
            node[key] = leaf
    return tree


def _key(part: str) -> str:
    """Return the key that `join_path` wrote."""
    return part.replace("~1", "/").replace("~0", "~")


def _checked(tree: Any, path: str) -> Any:
    """Return a copy of a tree of specs. Raises TypeError or ValueError naming the path of what is no spec."""
    if isinstance(tree, FieldSpec):
        return tree
    if not isinstance(tree, Mapping):
        raise TypeError(f"{path}: expected a field spec or a mapping of them, got {type(tree).__name__}")
    for key in tree:
        if not isinstance(key, str):
            raise ValueError(f"{path}: a key must be a str, not {key!r}")
        if isinstance(tree[key], Mapping) and not tree[key]:
            raise ValueError(f"{join_path(path, key)}: a mapping of fields must not be empty: leave its key out")
    return {key: _checked(node, join_path(path, key)) for key, node in tree.items()}


def _tree_to_json(tree: Any, ordered: bool) -> Any:
    if isinstance(tree, Mapping):
        return {key: _tree_to_json(tree[key], ordered) for key in (sorted(tree) if ordered else tree)}
    name = next(name for name, cls in TYPES.items() if type(tree) is cls)
    return {"type": name, **dataclasses.asdict(tree)}


def _tree_from_json(node: Any, path: str) -> Any:
    if not isinstance(node, dict):
        raise ValueError(f"{path}: expected an object, got {type(node).__name__}")
    if not isinstance(
        node.get("type"), str
    ):  # a nested field may be *called* "type", but then its value is not a string
        return {key: _tree_from_json(child, join_path(path, key)) for key, child in node.items()}
    if node["type"] not in TYPES:
        raise ValueError(f"{path}: unknown field type {node['type']!r}; known: {sorted(TYPES)}")
    settings = {key: tuple(v) if isinstance(v, list) else v for key, v in node.items() if key != "type"}
    try:
        return TYPES[node["type"]](**settings)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


@dataclasses.dataclass(frozen=True)
class EpisodeSpec:
    """The fields of a task: one field spec or nested mappings of them, for the observation and for the action.

    `timesteps=False` describes a document or a vision-language sample, which has no timesteps and so no separator, no
    local positions and no action. Its fields stand in the order given (image, then caption; figure 2).

    >>> from gato_tokenize import ContinuousSpec, DiscreteSpec
    >>> spec = EpisodeSpec({"proprio": ContinuousSpec(3), "camera": ImageSpec((64, 80, 3))}, DiscreteSpec(7))
    >>> print(spec.describe())
    observation/camera   image, uint8[64, 80, 3]
    observation/proprio  continuous, float32[3]
    action               discrete, int[], size 7
    >>> EpisodeSpec.from_json(spec.to_json()) == spec
    True
    """

    observation: Any
    action: Any = dataclasses.field(default_factory=dict)
    timesteps: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "observation", _checked(self.observation, "observation"))
        object.__setattr__(self, "action", _checked(self.action, "action"))
        check_bool(self.timesteps, "timesteps")
        if not self.observation_fields:
            raise ValueError("observation: a spec needs at least one field")
        if not self.timesteps and self.action_fields:
            raise ValueError("action: a document or sample (timesteps=False) has no action")
        for path, field in self.action_fields.items():
            if isinstance(field, ImageSpec):
                raise ValueError(f"{path}: an image is never predicted, so it cannot be an action")

    def __eq__(self, other: object) -> bool:
        """Compare the order of fields as well, which dicts ignore: it is the order of a sample's tokens."""
        return isinstance(other, EpisodeSpec) and (
            (self.timesteps, list(self.fields.items())) == (other.timesteps, list(other.fields.items()))
        )

    @classmethod
    def document(cls) -> "EpisodeSpec":
        return cls({"text": TextSpec()}, timesteps=False)

    @classmethod
    def caption(cls, image: ImageSpec | None = None) -> "EpisodeSpec":
        return cls({"image": image or ImageSpec(), "caption": TextSpec()}, timesteps=False)

    @classmethod
    def question_answer(cls, image: ImageSpec | None = None) -> "EpisodeSpec":
        fields = {"image": image or ImageSpec(), "question": TextSpec(predict=False), "answer": TextSpec()}
        return cls(fields, timesteps=False)

    @property
    def observation_fields(self) -> dict[str, FieldSpec]:
        """{path: field} in token order."""
        return dict(self._flat[0])

    @property
    def action_fields(self) -> dict[str, FieldSpec]:
        return dict(self._flat[1])

    @property
    def fields(self) -> dict[str, FieldSpec]:
        return {**self._flat[0], **self._flat[1]}

    @functools.cached_property
    def is_document(self) -> bool:
        """True for a single text without timesteps."""
        fields = list(self.fields.values())
        return not self.timesteps and len(fields) == 1 and isinstance(fields[0], TextSpec)

    @functools.cached_property
    def _flat(self) -> tuple[dict[str, FieldSpec], dict[str, FieldSpec]]:
        """The fields of the observation and of the action: every episode asks for them, many times."""
        return flatten(self.observation, "observation", ordered=self.timesteps), flatten(self.action, "action")

    def validate(self, observation: Any, action: Any = None) -> None:
        """Check one timestep; `action=None` is not checked. Raises ValueError naming the path of what does not fit."""
        match_keys(self.observation, observation, "observation")
        flat = flatten(observation, "observation")
        if action is not None:
            match_keys(self.action, action, "action")
            flat |= flatten(action, "action")
        for path, value in flat.items():
            self.fields[path].validate(value, path)

    def describe(self) -> str:
        width = max(map(len, self.fields))
        return "\n".join(f"{path:<{width}}  {field.describe()}" for path, field in self.fields.items())

    def example(self, seed: int = 0) -> tuple[Any, Any]:
        """A legal (observation, action) of one timestep, for tests."""
        generator = np.random.default_rng(seed)
        values = {path: field.example(generator) for path, field in self.fields.items()}
        return unflatten(values, "observation"), unflatten(values, "action")

    def to_json(self) -> str:
        """Canonical JSON: equal specs give equal text."""
        trees = {name: _tree_to_json(getattr(self, name), self.timesteps) for name in ("action", "observation")}
        return json.dumps({**trees, "timesteps": self.timesteps}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "EpisodeSpec":
        data = json.loads(text)
        if not isinstance(data, dict) or set(data) != {"action", "observation", "timesteps"}:
            raise ValueError(f"a spec has exactly the keys action, observation and timesteps, not {text[:80]!r}")
        trees = {name: _tree_from_json(data[name], name) for name in ("observation", "action")}
        return cls(**trees, timesteps=data["timesteps"])

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.to_json().encode()).hexdigest()


def match_keys(spec: Any, value: Any, path: str) -> None:
    """Raise ValueError if the nested `value` lacks a key of `spec`, or has another."""
    if not isinstance(spec, Mapping):
        if isinstance(value, Mapping):
            raise ValueError(f"{path}: expected {spec.describe()}, got a mapping with keys {sorted(map(str, value))}")
        return
    if not isinstance(value, Mapping):
        raise ValueError(f"{path}: expected a mapping with keys {sorted(spec)}, got {type(value).__name__}")
    if set(spec) != set(value):
        missing, extra = sorted(set(spec) - set(value)), sorted(map(str, set(value) - set(spec)))
        raise ValueError(
            f"{path}: " + "; ".join(f"{w} {k}" for w, k in (("missing", missing), ("unknown", extra)) if k)
        )
    for key in spec:
        match_keys(spec[key], value[key], join_path(path, key))
