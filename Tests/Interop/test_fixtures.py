"""The fixtures match the MANIFEST."""

import hashlib

import pytest


def test_fixtures_and_manifest_match(fixtures):
    listed = {}
    for line in (fixtures / "MANIFEST").read_text().splitlines():
        if not line.startswith("#"):
            digest, path = line.split()[:2]
            listed[path] = digest
    folders = ["adapters", "bad", "golden", "importance", "seeds", "tinylm", "tinylm-reference"]
    found = {
        path.relative_to(fixtures).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in folders
        for path in (fixtures / folder).rglob("*")
        if path.is_file()
    }
    assert found == listed


@pytest.mark.parametrize("name", ["safetensors", "gguf", "pleat"])
def test_golden_files_of_every_format_exist(fixtures, name):
    assert any((fixtures / "golden" / name).iterdir())
