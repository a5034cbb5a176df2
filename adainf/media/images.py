"""Folders of pictures: listing, class labels, parts and samples."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from adainf.base import files
from adainf.base.errors import InvalidInputError
from adainf.media.pictures import SUFFIXES, decode, decoded

if TYPE_CHECKING:  # importing torch would dominate the start of a camera's process
    from adainf.backbones import Classes

__all__ = ["SUFFIXES", "Part", "Picture", "class_indices", "decode", "decoded", "label_texts", "listing", "spread"]

_WORDNET_ID = re.compile(r"n\d{8}")
_SHOWN = 5

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture's file, and the name of its folder directly below the listed one, or None if there is none."""

    path: Path
    folder: str | None


@dataclass(frozen=True, slots=True)
class Part:
    """Every `of`-th row of a listing, starting at row `number` - 1; written `1/2`."""

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> "Part":
        """Parse `K/N`; raises InvalidInputError unless 1 <= K <= N."""
        matched = re.fullmatch(r"(\d+)/(\d+)", text, re.ASCII)
        number, of = map(int, matched.groups()) if matched else (0, 0)
        if not 1 <= number <= of:
            raise InvalidInputError(f"part {text!r}: must be K/N with K from 1 to N, as in 1/2")
        return cls(number, of)

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def rows(self, listing: Sequence[Item]) -> Sequence[Item]:
        """Return the rows of `listing` in this part."""
        return listing[self.number - 1 :: self.of]


def listing(folder: Path, *, labelled: bool) -> list[Picture]:
    """Return the pictures at any depth below `folder`, sorted by path, without hidden files and folders.

    labelled: require one folder per class, named as `class_indices` expects. Raises InvalidInputError if there are no
    pictures, or if a labelled picture lies outside a class folder.
    """
    if not files.is_folder(folder, "images"):
        raise InvalidInputError(f"images {folder}: no such folder")
    names = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not names:
        raise InvalidInputError(f"images {folder}: holds no picture; taken are {' '.join(SUFFIXES)}")
    pictures = [Picture(folder / name, name.partition("/")[0] if "/" in name else None) for name in names]
    outside = [picture.path.name for picture in pictures if picture.folder is None]
    if labelled and outside:
        raise InvalidInputError(
            f"images {folder}: {outside[0]} lies in no class folder; give one folder a class, or --unlabelled"
        )
    return pictures


def spread(rows: Sequence[Item], limit: int | None, seed: int) -> list[Item]:
    """Return at most `limit` rows, evenly spaced; `seed` determines the offset."""
    if limit is None or limit >= len(rows):
        return list(rows)
    shift = np.random.default_rng(seed).random()
    return [rows[int((number + shift) * len(rows) / limit)] for number in range(limit)]


def class_indices(folders: Iterable[str], classes: "Classes") -> dict[str, int]:
    """Return the class index of each folder: its name is a WordNet id, a class name or an index.

    Class names match in any case, with `_` for a space. Raises InvalidInputError on a name that matches no class, or
    several.
    """
    ids = {identity: index for index, identity in enumerate(classes.ids)}
    named: dict[str, list[int]] = {}
    for index, name in enumerate(classes.names):
        named.setdefault(_plain(name), []).append(index)
    return {folder: _class_index(folder, ids, named, len(classes.names)) for folder in sorted(set(folders))}


def _class_index(folder: str, ids: dict[str, int], named: dict[str, list[int]], count: int) -> int:
    if folder in ids:
        return ids[folder]
    found = named.get(_plain(folder)) or ([] if ids else named.get(_plain(_readable(folder)), []))
    if len(found) > 1:
        raise InvalidInputError(
            f"class folder {folder!r}: classes {' and '.join(map(str, found))} have this name; name it by the index"
        )
    if found:
        return found[0]
    if folder.isascii() and folder.isdigit() and int(folder) < count:
        return int(folder)
    names = list(named)
    examples = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
    raise InvalidInputError(
        f"class folder {folder!r}: means no class; allowed are {'WordNet ids, ' if ids else ''}"
        f"indices 0 to {count - 1} and the names {examples}"
    )


def label_texts(folders: Iterable[str]) -> tuple[str, ...]:
    """Return texts for a zero-shot head from class folders' names; a WordNet id becomes ImageNet's name for it."""
    return tuple(dict.fromkeys(_readable(folder) for folder in sorted(set(folders))))


def _readable(folder: str) -> str:
    if _WORDNET_ID.fullmatch(folder):
        from adainf.backbones.timm import imagenet_classes

        classes = imagenet_classes()
        if folder in classes.ids:
            return classes.names[classes.ids.index(folder)]
    return " ".join(folder.replace("_", " ").split())


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").split()).casefold()
