"""A text in, the picture of a captcha out: a PNG with nothing but the standard library."""

from __future__ import annotations

import random
import struct
import zlib
from typing import Final

# Letters and digits that are not mistaken for each other: five columns of seven dots, the lowest
# bit on top.
_FONT: Final = {
    "2": (0x62, 0x51, 0x49, 0x49, 0x46),
    "3": (0x22, 0x41, 0x49, 0x49, 0x36),
    "4": (0x18, 0x14, 0x12, 0x7F, 0x10),
    "5": (0x27, 0x45, 0x45, 0x45, 0x39),
    "6": (0x3E, 0x49, 0x49, 0x49, 0x30),
    "7": (0x01, 0x71, 0x09, 0x05, 0x03),
    "8": (0x36, 0x49, 0x49, 0x49, 0x36),
    "A": (0x7C, 0x12, 0x11, 0x12, 0x7C),
    "C": (0x3E, 0x41, 0x41, 0x41, 0x22),
    "E": (0x7F, 0x49, 0x49, 0x49, 0x41),
    "F": (0x7F, 0x09, 0x09, 0x09, 0x01),
    "H": (0x7F, 0x08, 0x08, 0x08, 0x7F),
    "K": (0x7F, 0x08, 0x14, 0x22, 0x41),
    "L": (0x7F, 0x40, 0x40, 0x40, 0x40),
    "M": (0x7F, 0x02, 0x0C, 0x02, 0x7F),
    "N": (0x7F, 0x04, 0x08, 0x10, 0x7F),
    "P": (0x7F, 0x09, 0x09, 0x09, 0x06),
    "R": (0x7F, 0x09, 0x19, 0x29, 0x46),
    "T": (0x01, 0x01, 0x7F, 0x01, 0x01),
    "X": (0x63, 0x14, 0x08, 0x14, 0x63),
}
ALPHABET: Final = "".join(_FONT)
_WIDTH, _HEIGHT, _DOT = 160, 60, 5
_WHITE, _INK, _NOISE = 255, 60, 190


def captcha_png(text: str) -> bytes:
    """The text, of ``ALPHABET``, each letter a little out of line, with lines across."""
    chance = random.Random(text)  # noqa: S311  (it keeps no secret)
    rows = [bytearray([_WHITE]) * _WIDTH for _ in range(_HEIGHT)]
    for _ in range(5):
        start, end = chance.randrange(_HEIGHT), chance.randrange(_HEIGHT)
        for x in range(_WIDTH):
            rows[start + (end - start) * x // _WIDTH][x] = _NOISE
    for place, letter in enumerate(text):
        left = 12 + place * 36 + chance.randrange(-3, 4)
        top = 12 + chance.randrange(-5, 6)
        for column, dots in enumerate(_FONT[letter]):
            for row in range(7):
                if dots >> row & 1:
                    for y in range(_DOT):
                        at = left + column * _DOT
                        rows[top + row * _DOT + y][at : at + _DOT] = bytes([_INK]) * _DOT
    return _png(rows)


def _png(rows: list[bytearray]) -> bytes:
    """https://www.w3.org/TR/png-3/: 8 bits of grey."""
    header = struct.pack(">IIBBBBB", _WIDTH, _HEIGHT, 8, 0, 0, 0, 0)
    content = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows))
    chunks = ((b"IHDR", header), (b"IDAT", content), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
