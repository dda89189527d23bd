"""A vocabulary of 32,000 pieces like that of Llama 2, and its SentencePiece file.

The words are artificial: all short strings of lower-case letters. The structure is realistic: every
longer piece joins two shorter ones, so that tools find merges.
"""

import itertools
import string
import struct
from enum import IntEnum

VOCABULARY = 32000
SPACE = "\u2581"


class Kind(IntEnum):
    """The kind of a piece, with the numbers of SentencePiece and llama.cpp."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    BYTE = 6


def pieces() -> list[tuple[str, float, Kind]]:
    """The text, score and kind of each piece; the score is the negative rank of its merge."""
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


# Protocol buffers, as far as the file needs them: integers, floats, and fields with a length.


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
    """The bytes of `tokenizer.model`: pieces, trainer settings (BPE), an identity normalizer."""
    data = b"".join(
        block(1, block(1, text.encode()) + real(2, score) + number(3, kind))
        for text, score, kind in pieces()
    )
    byte_pairs, byte_fallback = number(3, 2), number(35, 1)
    trainer = byte_pairs + number(4, VOCABULARY) + byte_fallback
    dummy_prefix, keep_spaces = number(3, 1), number(4, 0)
    normalizer = block(1, b"identity") + dummy_prefix + keep_spaces
    return data + block(2, trainer) + block(3, normalizer)
