"""Ranges: the least and the largest value of a field as a user says them, in place of those that were inferred."""

import dataclasses
import re
from collections.abc import Collection, Mapping

from gato_tokenize import ContinuousSpec, DiscreteSpec, EpisodeSpec
from gato_tokenize.field_spec import FieldSpec, TextSpec
from gato_tokenize.spec import unflatten
from pipelines.sources.errors import SourceError

Numbers = tuple[int | float, ...]  # one for all elements of a field, or one for each
_NUMBER = r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"
_RANGE = rf"({_NUMBER}(?:/{_NUMBER})*)\.\.({_NUMBER}(?:/{_NUMBER})*)"


def parse_ranges(text: str) -> dict[str, tuple[Numbers, Numbers]]:
    """Read `PATH:LOW..HIGH,PATH:LOW..HIGH`, where `/` stands between the numbers of several elements.

    >>> parse_ranges("action/arm:-1/-2..1/2,action/hand:0..1")
    {'action/arm': ((-1, -2), (1, 2)), 'action/hand': ((0,), (1,))}

    Raises SourceError for another form, and for a path that stands twice.
    """
    if text and not re.fullmatch(rf"(.+?:{_RANGE}(,(?!$)|$))+", text):
        raise SourceError(
            f"option ranges={text} must be PATH:LOW..HIGH,PATH:LOW..HIGH, such as action:-0.5..0.5 or, with a number"
            " for each element, action:-1/-2..1/2"
        )
    found = re.findall(rf"(.+?):{_RANGE}(?:,|$)", text)
    if len({path for path, _, _ in found}) != len(found):
        raise SourceError(f"option ranges={text} gives a path two of them")
    return {path: (_numbers(low), _numbers(high)) for path, low, high in found}


def written_ranges(ranges: Mapping[str, tuple[Numbers, Numbers]]) -> str:
    """The inverse of `parse_ranges`."""
    return ",".join(f"{path}:{_written(low)}..{_written(high)}" for path, (low, high) in sorted(ranges.items()))


def respecified(
    spec: EpisodeSpec, ranges: Mapping[str, tuple[Numbers, Numbers]], unpredicted: Collection[str]
) -> EpisodeSpec:
    """Return a spec with other ranges, and with texts that are not in the loss. Raises SourceError naming the field
    that is not there, or cannot have that."""
    fields = dict(spec.fields)
    for path, (low, high) in ranges.items():
        fields[path] = _ranged(_field(fields, path, "ranges"), path, low, high)
    for path in unpredicted:
        field = _field(fields, path, "unpredicted")
        if not isinstance(field, TextSpec) or path.split("/")[0] == "action":
            raise SourceError(
                f"option unpredicted={path}: only a text of the observation can be left out of the loss; actions are"
                " always predicted, other fields never"
            )
        fields[path] = TextSpec(predict=False)
    observation = {path: fields[path] for path in spec.observation_fields}
    action = {path: fields[path] for path in spec.action_fields}
    return EpisodeSpec(unflatten(observation, "observation"), unflatten(action, "action"), spec.timesteps)


def _field(fields: Mapping[str, FieldSpec], path: str, option: str) -> FieldSpec:
    if path not in fields:
        raise SourceError(f"option {option}: no field {path}; fields: {', '.join(fields)}")
    return fields[path]


def _ranged(field: FieldSpec, path: str, low: Numbers, high: Numbers) -> FieldSpec:
    try:
        if isinstance(field, DiscreteSpec):
            return _discrete(field, low, high)
        if isinstance(field, ContinuousSpec) and path.split("/")[0] == "action":
            return dataclasses.replace(field, low=_one_or_all(low), high=_one_or_all(high))
    except ValueError as error:
        raise SourceError(f"option ranges, {path}: {error}") from error
    what = "a continuous observation" if isinstance(field, ContinuousSpec) else f"{path} ({field.describe()})"
    raise SourceError(f"option ranges, {path}: {what} has no range: only actions and discrete fields have one")


def _discrete(field: DiscreteSpec, low: Numbers, high: Numbers) -> DiscreteSpec:
    lows, highs = _whole(low), _whole(high)
    most = max(len(lows), len(highs))
    lows, highs = (numbers * most if len(numbers) == 1 else numbers for numbers in (lows, highs))
    if len(lows) != len(highs):
        raise ValueError(f"{len(lows)} least values, but {len(highs)} largest ones")
    sizes = tuple(last - first + 1 for first, last in zip(lows, highs, strict=True))
    if most == 1:
        return dataclasses.replace(field, low=lows[0], size=sizes[0])
    return dataclasses.replace(field, low=lows, size=sizes)


def _whole(numbers: Numbers) -> tuple[int, ...]:
    for number in numbers:
        if number != int(number):
            raise ValueError(f"a discrete field has whole numbers, not {number!r}")
    return tuple(int(number) for number in numbers)


def _one_or_all(numbers: Numbers) -> int | float | Numbers:
    return numbers[0] if len(numbers) == 1 else numbers


def _numbers(text: str) -> Numbers:
    return tuple(int(one) if re.fullmatch(r"-?\d+", one) else float(one) for one in text.split("/"))


def _written(numbers: Numbers) -> str:
    return "/".join(f"{number!r}" for number in numbers)
