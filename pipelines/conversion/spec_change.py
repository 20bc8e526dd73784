"""SpecChange: the options of a source that make its tasks as a file of specs says."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gato_tokenize.roles import Roles
from pipelines.conversion.spec_file import Fields, SpecFile, SpecFileError, fields_of
from pipelines.sources import open_source, options_of, with_options
from pipelines.sources.episode_options import EpisodeOptions, listed
from pipelines.sources.errors import SourceError
from pipelines.sources.field_options import FieldOptions
from pipelines.sources.ranges import Numbers, parse_ranges, written_ranges
from pipelines.sources.step_fields import INSTRUCTION


def with_specs(sources: Sequence[str], file: SpecFile) -> list[str]:
    """Return the sources with the options that a file of specs asks for; one that it leaves as it is stays the same
    string, and makes the same plan.

    Raises SpecFileError naming the line of a task or field that no source has, and of what a source cannot do.
    """
    known = {task for source in sources for task in open_source(source).specs()}
    for task in file.tasks:
        if task not in known:
            raise file.error(("tasks", task), f"no source has this task; tasks: {', '.join(sorted(known))}")
    return [_changed(source, file) for source in sources]


def _changed(name: str, file: SpecFile) -> str:
    before = fields_of(open_source(name))
    wanted = {task: fields for task in before if (fields := file.tasks.get(task)) is not None}
    if all(_is_same(before[task], fields) for task, fields in wanted.items()):
        return name
    options = _Options(name, file, before, wanted)
    for task, fields in wanted.items():
        options.add_values(task, fields)
    options.add_selection()
    new = with_options(name, options.result(next(iter(before)) if len(before) == 1 else ""))
    with _refused_by(name, file):
        after = fields_of(open_source(new))
        reasons = open_source(new).reasons()
    for (task, _), (new_task, fields) in zip(before.items(), after.items(), strict=True):
        if task in wanted:
            _check(file, task, wanted[task], fields, reasons.get(new_task, {}))
    return new


def _is_same(before: Fields, wanted: Fields) -> bool:
    return set(before) == set(wanted) and all(
        before[path].get(key) == value for path, said in wanted.items() for key, value in said.items()
    )


@contextlib.contextmanager
def _refused_by(name: str, file: SpecFile) -> Iterator[None]:
    try:
        yield
    except SourceError as error:
        raise SpecFileError(f"{file.path}: {name} refuses what is asked for: {error}") from error


def _check(file: SpecFile, task: str, wanted: Fields, made: Fields, reasons: Mapping[str, str]) -> None:
    """Raise SpecFileError unless the source makes what stands in the file."""
    for path, said in wanted.items():
        if path not in made:
            same = [other for other, values in made.items() if values.get("from") == said.get("from", path)]
            hint = f"that field is called {same[0]}" if same else f"fields: {', '.join(made)}"
            raise file.field_error(task, path, "", f"the source makes no field of this name; {hint}")
        for key, value in said.items():
            if made[path].get(key) != value:
                now = made[path].get(key, "not stated")
                why = f" ({reasons[path]})" if path in reasons else ""
                raise file.field_error(task, path, key, f"the source cannot make it {value!r}: it stays {now!r}{why}")
    for path in made:
        if path not in wanted:
            raise file.error(
                ("tasks", task), f"the table of {path} is not there, but the source cannot leave the field out"
            )


class _Options:
    """The options that a file asks for, of one source."""

    def __init__(self, name: str, file: SpecFile, before: dict[str, Fields], wanted: dict[str, Fields]) -> None:
        self._name, self._file, self._before, self._wanted = name, file, before, wanted
        cls, self._given = options_of(name)
        options: Any = getattr(cls, "Options", None)
        self._chooses_fields = isinstance(options, type) and issubclass(options, EpisodeOptions)
        self._chooses_roles = isinstance(options, type) and issubclass(options, FieldOptions)
        words = self._given if self._chooses_roles else {}
        roles = Roles.parse(words.get("roles", ""), words.get("resize", ""))
        self._roles, self._sizes, self._size = dict(roles.by_path), dict(roles.sizes), roles.resize
        self._ranges = parse_ranges(self._given.get("ranges", "")) if self._chooses_fields else {}
        self._unpredicted = set(listed(self._given.get("unpredicted", ""))) if self._chooses_fields else set()
        self._selection: dict[str, str] = {}

    def add_values(self, task: str, fields: Fields) -> None:
        """Take over what the fields of a task are to be, and forget what was chosen for those that are gone."""
        before = self._before[task]
        for path, said in fields.items():
            if not self._chooses_fields and "from" in said:
                raise self._file.field_error(task, path, "from", f"{self._name} names no fields of its own")
            now = _known(before, path, said)
            new_role = said.get("role", now.get("role")) != now.get("role")
            if new_role:
                self._roles[path] = self._allowed(task, path, "role", self._chooses_roles, said["role"])
            if "size" in said and (new_role or said["size"] != now.get("size")):
                self._allowed(task, path, "size", self._chooses_roles, said["size"])
                self._sizes[path] = tuple(said["size"])
            if any(key in said and (new_role or said[key] != now.get(key)) for key in ("low", "high")):
                self._ranges[path] = self._range(task, path, {**({} if new_role else now), **said})
            if "predicted" in said and said["predicted"] != now.get("predicted", said["predicted"]):
                self._allowed(task, path, "predicted", self._chooses_fields, said["predicted"])
                (self._unpredicted.discard if said["predicted"] else self._unpredicted.add)(path)
        for path in set(before) - set(fields):
            self._unpredicted.discard(path)
            for chosen in (self._roles, self._sizes, self._ranges):
                chosen.pop(path, None)

    def _allowed(self, task: str, path: str, key: str, allowed: bool, value: Any) -> Any:
        if not allowed:
            raise self._file.field_error(task, path, key, f"{self._name} takes no option that would change it")
        return value

    def _range(self, task: str, path: str, said: Mapping[str, Any]) -> tuple[Numbers, Numbers]:
        self._allowed(task, path, "low" if "low" in said else "high", self._chooses_fields, said)
        for key, other in (("low", "high"), ("high", "low")):
            if key not in said:
                raise self._file.field_error(task, path, other, f"a range needs both: {key} is missing")
        low, high = (tuple(one) if isinstance(one, list) else (one,) for one in (said["low"], said["high"]))
        return low, high

    def add_selection(self) -> None:
        """Find the options `fields`, `action` and `instruction`."""
        after = {**self._before, **self._wanted}
        now, then = ([_selected(fields) for fields in tasks.values()] for tasks in (self._before, after))
        if now != then and not self._chooses_fields:
            return  # `_check` names the field
        self._check_places()
        observed, wanted = _united(now, "observation"), _united(then, "observation")
        if observed != wanted:
            only_fewer = set(wanted) <= set(observed) and not self._given.get("fields")
            gone = [f"-{place}" for place in observed if place not in wanted]
            self._selection["fields"] = ",".join(gone if only_fewer else wanted)
        for root in ("action", "instruction"):
            if _united(now, root) != _united(then, root):
                self._selection[root] = ",".join(_united(then, root)) or "none"

    def _check_places(self) -> None:
        """Raise SpecFileError for a field of the source that it does not have."""
        readings = open_source(self._name).readings()
        for task, fields in self._wanted.items():
            if task not in readings:
                continue
            places = {*readings[task].places.values(), *readings[task].left_out}
            for path, said in fields.items():
                place = said.get("from", self._before[task].get(path, {}).get("from", path))
                if place not in places:
                    key = "from" if "from" in said else ""
                    raise self._file.field_error(
                        task, path, key, f"the source has no field {place}; fields: {', '.join(sorted(places))}"
                    )

    def result(self, task: str) -> dict[str, str]:
        """The options that change. task: the name that the task keeps; "" if there are several tasks."""
        found = dict(self._selection)
        if self._chooses_roles:
            found |= {"roles": ",".join(f"{path}:{role}" for path, role in sorted(self._roles.items()))}
            sizes = [f"{path}:{height}x{width}" for path, (height, width) in sorted(self._sizes.items())]
            general = [f"{self._size[0]}x{self._size[1]}"] if self._size else []
            found |= {"resize": ",".join([*general, *sizes])}
        if self._chooses_fields:
            found |= {"ranges": written_ranges(self._ranges), "unpredicted": ",".join(sorted(self._unpredicted))}
            if task and not self._given.get("task"):
                found["task"] = task
        return found


def _known(before: Fields, path: str, said: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is known of a field; one that comes from elsewhere has no range yet."""
    same = before.get(path, {})
    if "from" not in said or said["from"] == same.get("from"):
        return same
    other = next((entry for entry in before.values() if entry.get("from") == said["from"]), {})
    return {key: value for key, value in other.items() if key not in ("low", "high")}


def _selected(fields: Fields) -> dict[str, list[str]]:
    """{"observation", "action", "instruction": the fields of the source that are chosen for it}."""
    found: dict[str, list[str]] = {"observation": [], "action": [], "instruction": []}
    for path, said in fields.items():
        root = "instruction" if path == INSTRUCTION else path.split("/")[0]
        found[root].append(said.get("from", path))
    return found


def _united(tasks: Sequence[Mapping[str, list[str]]], root: str) -> list[str]:
    return list(dict.fromkeys(place for selected in tasks for place in selected[root]))
