"""formats/pleat.py and pleat refuse exactly the files that contradict formats/pleat.md."""

import copy
import json
import struct

import pytest
import zstandard
from pleat import PleatFile, crc32c
from pleat_files import EMPTY, Writer, file_of
from pleat_verdicts import refusal, status

REFUSED = (1, 65, 69)

# Files that contradict the document


@pytest.fixture(scope="module")
def example(fixtures) -> PleatFile:
    return PleatFile.open(fixtures / "golden" / "pleat" / "example.pleat")


A = ["tensors", 0]
PART = [*A, "parts", "codes"]
MORE = ["tensors", 2]
FRAMES = {"length": 32, "block": 32, "planes": 1, "frames": [128, 32], "crc32c": "86b37bee"}
GROUPS_OF_32 = {"bits": 4, "groupSize": 32, "offset": "bias", "parameters": "F16"}
CODED = {"shape": [0, 32], "encoding": GROUPS_OF_32}
CODED |= {"parts": {role: EMPTY for role in ("codes", "scales", "biases")}}


def companion(name) -> list:
    return [EMPTY | {"name": name}]


ACCEPTED = [
    ("an unknown key", ["x"], [None, {"y": -1.5e3}]),
    ("an unknown key of a part", [*PART, "sha256"], ""),
    ("an unknown key of an encoding", [*A, "encoding", "hint"], 1),
    ("the same bytes as one row", [*A, "shape"], [64]),
    ("a block size of a raw part", [*PART, "block"], 7),
    ("a checksum in capitals", [*PART, "crc32c"], "86B37BEE"),
    ("frames without planes", PART, {k: v for k, v in FRAMES.items() if k != "planes"}),
    ("frames with an offset", PART, FRAMES | {"offset": 1}),
    ("an empty part anywhere", ["companions"], [EMPTY | {"name": "x", "offset": 2**63 - 1}]),
    ("an empty part, no blocks", ["companions"], [FRAMES | EMPTY | {"name": "x", "frames": []}]),
    ("a companion with spaces and dots", ["companions"], companion("..x y")),
    *[(f"companion {name!r}", ["companions"], companion(name))
      for name in ("1_x/config.json", "2/..y", "additional_chat_templates/rag.jinja")],
    ("folders of companions as a feature", ["requires"], ["companion-folders"]),
    ("an adapter of an unknown kind", ["adapters"], [{"name": "a", "kind": "new", "tensors": []}]),
    ("an adapter without tensors", ["adapters"], [{"name": "a"}]),
    ("no rows", MORE, {"name": "x"} | CODED),
    ("an unknown action", ["provenance", "history"], [{"action": "knit"}]),
    ("a very long number", ["x"], 10**400),
]

REFUSED_HEADERS = [
    ("a feature that is a number", ["requires"], [1]),
    ("an unknown feature", ["requires"], ["knitting"]),
    ("features that are not a list", ["requires"], "zstd"),
    ("a writer that is not a string", ["writer"], 7),
    *[(f"companion {name!r}", ["companions"], companion(name))
      for name in ("", ".", "..", "a/b", "a\0b", 7, None, "/x", "1_x/", "1_x/..", "../x", "1_x/../x",
                   "1_x/2_y/z", "1_x//y", ".git/config", "refs/x", "١/x", "../\u0301x")],
    ("a companion twice", ["companions"], companion("x") + companion("x")),
    ("a companion twice in a folder", ["companions"], companion("1_x/y") + companion("1_x/y")),
    ("a companion named as a folder", ["companions"], companion("1_x/y") + companion("1_x")),
    ("a companion that overlaps a tensor", ["companions"],
     [{"name": "x", "offset": 128, "length": 1, "crc32c": "00000000"}]),
    ("metadata without a count", ["metadata", "count"], None),
    ("too many records", ["metadata", "count"], 2),
    ("a count with a fraction", ["metadata", "count"], 1.0),
    ("a count that is true", ["metadata", "count"], True),
    ("metadata beyond the file", ["metadata", "offset"], 2**40),
    ("metadata that is not an object", ["metadata"], []),
    ("tensors that are not a list", ["tensors"], {}),
    ("a tensor without a name", [*A, "name"], None),
    ("a tensor twice", [*A, "name"], "norm.weight"),
    *[(f"shape {shape}", [*A, "shape"], shape)
      for shape in ([2, 33], [2, 16], [2.0, 32], [-2, 32], ["2", 32], None, {}, [2**62, 32], [])],
    ("a shape that overflows apart from a zero", MORE,
     {"name": "x", "shape": [0, 2**58], "encoding": {"type": "U8"}, "parts": {"values": EMPTY}}),
    *[(f"{bits} bits", [*A, "encoding", "bits"], bits) for bits in (0, 1, 7, 16, 4.0, "4", None)],
    *[(f"groups of {size}", [*A, "encoding", "groupSize"], size) for size in (0, 24, 64, -32, 1.5)],
    *[(f"offset {kind}", [*A, "encoding", "offset"], kind)
      for kind in ("zeroPoint", "none", "Bias", None)],
    *[(f"parameters {type}", [*A, "encoding", "parameters"], type)
      for type in ("F64", "f16", None)],
    ("two encodings", [*A, "encoding"], GROUPS_OF_32 | {"type": "F16"}),
    ("no encoding", [*A, "encoding"], {}),
    *[(f"type {type}", ["tensors", 1, "encoding"], {"type": type})
      for type in ("f16", "F8", "BOOL", "F32", "", None)],
    ("half a byte", MORE,
     {"name": "x", "shape": [1], "encoding": {"type": "F4"}, "parts": {"values": EMPTY}}),
    *[(f"blocks {name}", MORE,
       {"name": "x", "shape": shape, "encoding": {"ggml": name}, "parts": {"blocks": EMPTY}})
      for name, shape in (("F16", [0, 32]), ("Q4_K", [0, 32]), ("Q9_9", [0, 256]), (None, [0, 32]))],
    ("groups in empty rows", MORE, {"name": "x"} | CODED | {"shape": [32, 0]}),
    ("a role too many", [*A, "parts", "zeros"], EMPTY),
    ("another order of roles", [*A, "parts"],
     {role: EMPTY for role in ("scales", "codes", "biases")}),
    ("a part that is not an object", PART, None),
    ("an unaligned part", [*PART, "offset"], 129),
    ("parts that overlap", [*A, "parts", "scales", "offset"], 128),
    ("a part in the preamble", [*PART, "offset"], 0),
    ("a part in the header", [*PART, "offset"], 384),
    ("an offset that overflows", [*PART, "offset"], 2**63 - 64),
    ("a negative offset", [*PART, "offset"], -64),
    ("another length", [*PART, "length"], 36),
    ("a part without an offset", PART, {"length": 32, "crc32c": "86b37bee"}),
    *[(f"checksum {text!r}", [*PART, "crc32c"], text)
      for text in ("86b37be", "0x86b37b", " 6b37bee", "86b37bef", 2259909614, None)],
    *[(f"frames {edit}", PART, FRAMES | edit)
      for edit in (
          {"block": None}, {"block": 0}, {"planes": 0}, {"planes": 3}, {"frames": [128]},
          {"frames": []}, {"frames": [128, 0]}, {"frames": [128, 33]}, {"frames": [128, -32]},
          {"frames": [128, 32, 160, 32]}, {"frames": [2**63, 32]}, {"frames": [60, 32]},
          {"frames": [384, 32]}, {"frames": None}, {"planes": 2, "block": 33},
          {"block": 16, "frames": [128, 16, 143, 16]}, {"block": 16, "frames": [128, 16, 128, 16]},
      )],
    ("adapters that are not a list", ["adapters"], {}),
    ("an adapter that is not an object", ["adapters"], [7]),
    ("an adapter without a name", ["adapters"], [{"tensors": []}]),
    ("an adapter with an empty name", ["adapters"], [{"name": "", "tensors": []}]),
    ("an adapter twice", ["adapters"], [{"name": "a"}, {"name": "a"}]),
    ("an adapter in groups", ["adapters"], [{"name": "a", "tensors": [{"name": "x"} | CODED]}]),
    ("an adapter that overlaps the model", ["adapters"],
     [{"name": "a", "tensors": [
         {"name": "x", "shape": [32], "encoding": {"type": "U8"}, "parts": {
             "values": {"offset": 128, "length": 32, "crc32c": "86b37bee"}}}]}]),
]  # fmt: skip


def edited(example: PleatFile, path: list, value) -> bytes:
    header = copy.deepcopy(example.header)
    target = header
    for key in path[:-1]:
        target = target[key]
    if path == MORE:
        header["tensors"].append(value)
    else:
        target[path[-1]] = value
    if "frames" in json.dumps(header):
        header["requires"] = ["zstd"]
    return file_of(header, example.data[64 : example.header_offset])


@pytest.mark.parametrize(("path", "value"), [c[1:] for c in ACCEPTED], ids=[c[0] for c in ACCEPTED])
def test_both_accept_what_the_document_permits(pleat, example, tmp_path, path, value):
    contents = edited(example, path, value)
    assert (refusal(contents), status(pleat, tmp_path / "model.pleat", contents)) == ("", 0)


@pytest.mark.parametrize(
    ("path", "value"),
    [case[1:] for case in REFUSED_HEADERS],
    ids=[case[0] for case in REFUSED_HEADERS],
)
def test_both_refuse_what_the_document_forbids(pleat, example, tmp_path, path, value):
    contents = edited(example, path, value)
    assert status(pleat, tmp_path / "bad.pleat", contents) in REFUSED
    assert refusal(contents)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"adapters":[]', '"adapters":[],"adapters":[]'),
        ('"adapters":[]', '"adapters":[],"x":1,"x":1'),
        ('"count":1', '"count":1e0'),
        ('"count":1', '"count":+1'),
        ('"count":1', '"count":01'),
        ('"offset":64', '"offset":-0'),
        ('"adapters":[]', '"adapters":[],"x":NaN'),
        ('"adapters":[]', '"adapters":[],"x":True'),
        ('"adapters":[]', '"adapters":[],"x":[1,]'),
        ('"adapters":[]', "'adapters':[]"),
        ('"adapters":[]', '"adapters":[]/**/'),
        ('"adapters":[]', '"adapters":[],"x":"\n"'),
        ('"adapters":[]', '"adapters":[],"x":"\\ud800"'),
        ('{"requires"', '\ufeff{"requires"'),
        ('{"requires"', '\f{"requires"'),
        ("}]}}", "}]}}\0"),
        ("}]}}", "}]}}{}"),
        ("}]}}", "}]}"),
    ],
)
def test_both_refuse_a_header_that_is_not_json(pleat, example, tmp_path, old, new):
    text = example.data[example.header_offset :].decode()
    assert text.count(old) == 1
    contents = file_of(text.replace(old, new).encode(), example.data[64 : example.header_offset])
    assert status(pleat, tmp_path / "bad.pleat", contents) in REFUSED
    assert refusal(contents)


@pytest.mark.parametrize("text", [b"", b"[]", b"7", b'{"x":"\xff"}', b'{"x":"\xed\xa0\x80"}'])
def test_both_refuse_a_header_that_is_not_a_utf_8_object(pleat, tmp_path, text):
    assert status(pleat, tmp_path / "bad.pleat", file_of(text, b"")) in REFUSED
    assert refusal(file_of(text, b""))


def test_nonzero_gaps_are_refused(pleat, example, tmp_path):
    data = bytearray(example.data[64 : example.header_offset])
    data[-1] = 1
    contents = file_of(example.header, bytes(data))
    assert status(pleat, tmp_path / "bad.pleat", contents) in REFUSED
    assert "gap" in refusal(contents)


@pytest.mark.parametrize(
    ("position", "value"),
    [(8, b"\2\0"), (16, struct.pack("<Q", 0)), (16, struct.pack("<Q", 2**63)), (24, b"\0"),
     (32, b"\0")],
)  # fmt: skip
def test_both_refuse_an_inconsistent_preamble(pleat, example, tmp_path, position, value):
    contents = bytearray(example.data)
    contents[position : position + len(value)] = value
    contents[60:64] = struct.pack("<I", crc32c(bytes(contents[:60])))
    assert status(pleat, tmp_path / "bad.pleat", bytes(contents)) in REFUSED
    assert refusal(bytes(contents))


def record(key: bytes, value: bytes) -> bytes:
    return struct.pack("<Q", len(key)) + key + value


U8 = struct.pack("<IB", 0, 7)
STRING = struct.pack("<IQ", 8, 1)


@pytest.mark.parametrize(
    ("count", "records", "problem"),
    [
        (1, record(b"a", U8), ""),
        (1, record(b"a", struct.pack("<IB", 7, 7)), ""),
        (1, record(b"a", STRING + b"\xff"), ""),
        (1, record(b"a", struct.pack("<IIQ", 9, 12, 0)), ""),
        (1, record(b"", U8), "empty"),
        (2, record(b"a", U8) * 2, "twice"),
        (1, record(b"\xff", U8), "UTF-8"),
        (1, record(b"a", struct.pack("<IB", 13, 7)), "type 13"),
        (1, record(b"a", struct.pack("<IIQ", 9, 13, 0)), "type 13"),
        (1, record(b"a", struct.pack("<IIQIQ", 9, 9, 1, 0, 0)), "type 9"),
        (1, record(b"a", struct.pack("<IIQ", 9, 0, 2**63)), "runs out"),
        (1, record(b"a", STRING), "runs out"),
        (1, struct.pack("<Q", 2**64 - 1), "runs out"),
        (2, record(b"a", U8), "runs out"),
    ],
)
def test_both_agree_on_records(pleat, tmp_path, count, records, problem):
    writer = Writer()
    contents = writer.file({"metadata": {"count": count} | writer.raw(records)})
    found = status(pleat, tmp_path / "model.pleat", contents)
    assert found in REFUSED if problem else found == 0
    assert problem in refusal(contents) and bool(refusal(contents)) == bool(problem)


# Frames


def frame(length: int, **options) -> bytes:
    return zstandard.ZstdCompressor(**options).compress(bytes(length))


@pytest.mark.parametrize(
    ("stored", "problem"),
    [
        (frame(1000), ""),
        (frame(1000, write_checksum=True), ""),
        (frame(1000, write_content_size=False), ""),
        (bytes(1000), ""),
        (frame(500), "500 bytes"),
        (frame(1001), "1001 bytes"),
        (frame(999, write_content_size=False), "999 bytes"),
        (frame(1000)[:-1], "whole frame"),
        (frame(1000) + b"x", "whole frame"),
        (frame(1000, write_checksum=True)[:-1] + b"x", "checksum"),
        (frame(1 << 24), "16777216 bytes"),
    ],
)
def test_both_agree_on_frames(pleat, tmp_path, stored, problem):
    writer = Writer()
    parts = {"values": writer.compressed([stored], 1000)}
    tensor = {"name": "w", "shape": [500], "encoding": {"type": "F16"}, "parts": parts}
    path = tmp_path / "model.pleat"
    path.write_bytes(writer.file({"requires": ["zstd"], "tensors": [tensor]}))
    options = ["--to", "safetensors", "--dtype", "F32", "-o", tmp_path / "decoded"]
    found = pleat.attempt("convert", path, *options).returncode
    assert found == (65 if problem else 0)
    assert (status(pleat, path, path.read_bytes()) in REFUSED) == bool(problem)
    reason = refusal(path.read_bytes())
    assert problem in reason and bool(reason) == bool(problem)


def test_the_reader_refuses_all_bad_fixtures(fixtures):
    """The document's reader accepts none of them as a pleat file, whatever is wrong with them."""
    paths = [path for path in sorted((fixtures / "bad").rglob("*")) if path.is_file()]
    assert paths
    assert not [path.name for path in paths if not refusal(path.read_bytes())]
