"""Every file under fixtures/bad is refused with the status of its kind and the expected message.

Files in which only the contents of parts are damaged are refused by verify.
"""

from pathlib import Path

import pytest

BAD = Path(__file__).resolve().parents[2] / "fixtures" / "bad"
STATUS = {"malformed": 65, "limit": 65, "mismatch": 65, "unsupported": 69, "io": 74}
CASES = sorted(BAD.glob("*/*.expect"))


def input_of(case: Path) -> Path:
    """The file beside the expectation, or the folder, or the first GGUF shard in it."""
    file, folder = case.with_suffix(f".{case.parent.name}"), case.with_suffix("")
    return file if file.exists() else next(folder.glob("*-00001-of-*.gguf"), folder)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}/{case.stem}")
def test_a_bad_file_is_refused(pleat, case):
    kind, *fragments = [
        line for line in case.read_text().splitlines() if line and not line.startswith("#")
    ]
    result = pleat.attempt("inspect", input_of(case))
    status, said = STATUS[kind], result.stderr
    if result.returncode == 0:
        result = pleat.attempt("verify", input_of(case))
        status, said = 1, result.stdout
    assert result.returncode == status, said
    assert not [fragment for fragment in fragments if fragment not in said], said
    assert "\x1b" not in said
