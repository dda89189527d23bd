"""Damaged, truncated and foreign files give one clear error each."""

from pathlib import Path

import numpy as np
import pleat
import pytest
from pleat import checksum

GOLDEN = ["golden/pleat/example.pleat", "seeds/pleat/compressed.pleat"]


def refusal(path: Path) -> pleat.PleatError | None:
    try:
        pleat.read(path, check=True)
    except pleat.PleatError as error:
        return error
    return None


def test_files_that_contradict_the_document_are_refused_in_the_words_of_the_command(fixtures):
    """The fragments are those that the messages of the command must contain, too."""
    paths = sorted((fixtures / "bad/pleat").glob("*.pleat"))
    assert len(paths) > 90
    for path in paths:
        lines = path.with_suffix(".expect").read_text().splitlines()
        kind, *fragments = [line for line in lines if not line.startswith("#")]
        error = refusal(path)
        assert error is not None, path.name
        assert error.kind == kind, f"{path.name}: {error}"
        assert str(error).startswith(str(path))
        assert all(fragment in str(error) for fragment in fragments), f"{path.name}: {error}"


@pytest.mark.parametrize("name", GOLDEN)
def test_flipped_bits_are_detected(fixtures, tmp_path, name):
    contents = (fixtures / name).read_bytes()
    path = tmp_path / "flipped.pleat"
    path.write_bytes(contents)
    assert refusal(path) is None
    missed = []
    for bit in range(0, 8 * len(contents), 37):
        damaged = bytearray(contents)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        if refusal(path) is None:
            missed.append(bit)
    assert not missed


@pytest.mark.parametrize("name", GOLDEN)
def test_truncations_are_detected(fixtures, tmp_path, name):
    contents = (fixtures / name).read_bytes()
    path = tmp_path / "cut.pleat"
    for length in [*range(0, len(contents), 29), len(contents) - 1]:
        path.write_bytes(contents[:length])
        error = refusal(path)
        assert error is not None and error.kind == "malformed", length
    assert str(error) == (
        f"{path}: the file is truncated, expected {len(contents)} bytes, "
        f"found {len(contents) - 1} (perhaps an incomplete download)"
    )


def test_foreign_files_are_refused(fixtures, tmp_path):
    assert "not a pleat file (pleat convert" in str(refusal(fixtures / "tinylm/model.safetensors"))
    absent = tmp_path / "absent.pleat"
    assert str(refusal(absent)) == f"{absent}: no such file or folder"
    assert str(refusal(tmp_path)).startswith(f"{tmp_path}: a folder, not a pleat file (")
    absent.write_bytes(b"")
    assert str(refusal(absent)) == f"{absent}: the file is empty (perhaps a failed download)"


def test_damaged_numbers_are_found_on_request_only(fixtures):
    file = pleat.read(fixtures / "bad/pleat/part-damaged.pleat")
    assert file["w"].dtype == np.float32
    with pytest.raises(pleat.PleatError, match="the codes are damaged"):
        file.check()


def test_checksums_by_numpy_have_the_published_values():
    for data, expected in ((b"", 0), (b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA)):
        assert checksum.extended(0, np.frombuffer(data, np.uint8)) == expected


def test_checksums_by_numpy_equal_those_by_google_crc32c():
    google = pytest.importorskip("google_crc32c")
    random = np.random.default_rng(3)
    for length in (1, 3, 4, 31, 255, 256, 257, 5000, 70001, (1 << 20) + 3):
        data = random.integers(0, 256, length, np.uint8)
        half = length // 2
        value = checksum.extended(checksum.extended(0, data[:half]), data[half:])
        assert value == google.value(data.tobytes()), length


def test_a_compressed_file_without_zstandard_says_what_to_install(fixtures, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    file = pleat.read(fixtures / "seeds/pleat/compressed.pleat")
    with pytest.raises(pleat.PleatError, match="pip install zstandard"):
        file["a.weight"]
