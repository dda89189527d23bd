"""The one error of this package."""

from __future__ import annotations

import os
import unicodedata
from contextlib import contextmanager
from typing import Iterator


class PleatError(Exception):
    """What went wrong, where, what was expected and found, and what to do next.

    `kind` says whose fault it is, as in the command: `io` (reading failed), `malformed` (the file
    does not follow its format), `unsupported` (not supported here), `mismatch` (the inputs do not
    belong together), `limit` (the file exceeds a limit), `usage` (the request is invalid).
    """

    def __init__(
        self,
        kind: str,
        what: str,
        *,
        file: str | os.PathLike[str] | None = None,
        tensor: str | None = None,
        offset: int | None = None,
        expected: str | None = None,
        found: str | None = None,
        hint: str | None = None,
    ):
        super().__init__(what)
        self.kind = kind
        self.what = what
        self.file = None if file is None else os.fspath(file)
        self.tensor = tensor
        self.offset = offset
        self.expected = expected
        self.found = found
        self.hint = hint

    def __str__(self) -> str:
        places = [place for place in (self.file, self.tensor) if place]
        text = ": ".join([*places, self.what])
        if self.offset is not None:
            text += f" at byte {self.offset}"
        if self.expected is not None:
            text += f", expected {self.expected}"
        if self.found is not None:
            text += f", found {self.found}"
        if self.hint is not None:
            text += f" ({self.hint})"
        return _escaped(text)


def _escaped(text: str) -> str:
    """The text without control characters, because names come from files."""
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in ("Cc", "Cs")
        else character
        for character in text
    )


@contextmanager
def located(
    file: str | os.PathLike[str] | None = None, tensor: str | None = None
) -> Iterator[None]:
    """Fills in the file and the tensor of an error if they are missing."""
    try:
        yield
    except PleatError as error:
        if error.file is None and file is not None:
            error.file = os.fspath(file)
        if error.tensor is None:
            error.tensor = tensor
        raise
