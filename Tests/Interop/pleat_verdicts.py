"""The verdicts of the document's reader and of pleat on a file."""

from pathlib import Path

from pleat import Damaged, PleatFile


def refusal(contents: bytes) -> str:
    """Why the document's reader refuses a file; empty if it accepts the file."""
    try:
        PleatFile(contents).verify()
    except Damaged as error:
        return str(error)
    return ""


def status(pleat, path: Path, contents: bytes) -> int:
    path.write_bytes(contents)
    return pleat.attempt("verify", "--quiet", path).returncode
