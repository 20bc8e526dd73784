"""Which demonstrations are read, and the split of each: the masks of the files."""

from collections.abc import Sequence
from typing import NamedTuple

from pipelines.sources.episode_options import EpisodeOptions
from pipelines.sources.errors import SourceError
from pipelines.sources.robomimic.demo_file import DemoFile

STANDARD = ("train", "valid", "val", "validation", "test")  # other masks are subsets of these


class Splits(NamedTuple):
    """names: {mask: its split in the dataset} of those that are read. notes: what is left out."""

    names: dict[str, str]
    notes: list[str]


def choose_masks(files: Sequence[DemoFile], options: EpisodeOptions) -> Splits:
    """Choose the masks `splits=` names, or else the standard ones. Without any, all demonstrations are read."""
    found = sorted({mask for file in files for mask in file.masks})
    standard = [mask for mask in STANDARD if mask in found]
    names = options.splits_of(found if options.splits else standard)
    others = [mask for mask in found if mask not in names]
    notes = (
        [f"the masks {', '.join(others)} are not used; splits= chooses masks"] if others and not options.splits else []
    )
    return Splits(names, notes)


def demos_of(file: DemoFile, splits: Splits) -> list[tuple[str, str]]:
    """(name, its mask) of each demonstration of a file that is read, in order. One that a mask names and that is not
    there is read, too: it becomes a reject. Raises SourceError if one is in two of the chosen masks."""
    if not splits.names:
        return [(name, "") for name in file.demos]
    chosen = {mask: file.masks.get(mask, ()) for mask in splits.names}
    if not file.masks and "train" in splits.names:
        chosen["train"] = file.demos
    mask_of: dict[str, str] = {}
    for mask, demos in chosen.items():
        for name in demos:
            if mask_of.setdefault(name, mask) != mask:
                raise SourceError(
                    f"{file.uri}: {name} is in the masks {mask_of[name]} and {mask}: choose masks that share none by"
                    " splits=MASK,MASK"
                )
    known = [(name, mask_of.pop(name)) for name in file.demos if name in mask_of]
    return known + sorted(mask_of.items())
