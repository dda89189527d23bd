"""A vocabulary as Llama 2's: 32,000 pieces, and SentencePiece's file of them.

The words are made up (all short strings of small letters), the structure is real: every longer
piece is two shorter ones joined, so tools find merges in it.
"""

import itertools
import string
import struct
from enum import IntEnum

VOCABULARY = 32000
SPACE = "\u2581"


class Kind(IntEnum):
    """What a piece is, in SentencePiece's and llama.cpp's numbers."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    BYTE = 6


def pieces() -> list[tuple[str, float, Kind]]:
    """Text, score and kind; a piece has the score of its rank among the merges."""
    first = [("<unk>", 0.0, Kind.UNKNOWN), ("<s>", 0.0, Kind.CONTROL), ("</s>", 0.0, Kind.CONTROL)]
    first += [(f"<0x{byte:02X}>", 0.0, Kind.BYTE) for byte in range(256)]
    words = ("".join(word) for n in (2, 3, 4) for word in words_of(n))
    single = [SPACE, *string.ascii_letters, *string.digits, *string.punctuation]
    merged = itertools.chain.from_iterable((SPACE + word[:-1], word) for word in words)
    room = VOCABULARY - len(first) - len(single)
    normal = list(itertools.islice(dict.fromkeys(merged), room))
    scored = [(text, -float(rank), Kind.NORMAL) for rank, text in enumerate(normal)]
    return first + scored + [(text, -float(room), Kind.NORMAL) for text in single]


def words_of(length: int) -> itertools.product:
    return itertools.product(string.ascii_lowercase, repeat=length)


# Protocol buffers, as far as the file needs them: numbers, floats, and what has a length.


def varint(value: int) -> bytes:
    data = b""
    while value >= 0x80:
        data += bytes([value & 0x7F | 0x80])
        value >>= 7
    return data + bytes([value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def real(field: int, value: float) -> bytes:
    return varint(field << 3 | 5) + struct.pack("<f", value)


def block(field: int, data: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(data)) + data


def sentence_piece() -> bytes:
    """A `tokenizer.model`: pieces, a trainer that says BPE, a normalizer that changes nothing."""
    data = b"".join(
        block(1, block(1, text.encode()) + real(2, score) + number(3, kind))
        for text, score, kind in pieces()
    )
    byte_pairs, byte_fallback = number(3, 2), number(35, 1)
    trainer = byte_pairs + number(4, VOCABULARY) + byte_fallback
    dummy_prefix, keep_spaces = number(3, 1), number(4, 0)
    normalizer = block(1, b"identity") + dummy_prefix + keep_spaces
    return data + block(2, trainer) + block(3, normalizer)
