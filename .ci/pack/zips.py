"""Packages as Lambda takes them: a zip file with one program in it."""

import struct
import zlib

import deflate

NAME = b"bootstrap"
# Midnight of 1 January 1980, the earliest time there is: the same binary gives the same bytes.
TIME, DATE = 0, 1 << 5 | 1
DEFLATED, VERSION, UNIX = 8, 20, 3
# A regular file that everybody may read and run.
MODE = 0o100755


def pack(bootstrap, target):
    """Packs a binary, as small as zip files go; the size of the package.

    zlib, which Python's own zip files are made with, leaves three per cent more.
    """
    data = bootstrap.read_bytes()
    packed = bytes(deflate.deflate_compress(data, 12))
    facts = struct.pack(
        "<HHHHHIIIHH", VERSION, 0, DEFLATED, TIME, DATE, zlib.crc32(data), len(packed), len(data), len(NAME), 0
    )
    local = b"PK\x03\x04" + facts + NAME + packed
    entry = b"PK\x01\x02" + struct.pack("<BB", VERSION, UNIX) + facts
    entry += struct.pack("<HHHII", 0, 0, 0, MODE << 16, 0) + NAME
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(entry), len(local), 0)
    target.write_bytes(local + entry + end)
    return target.stat().st_size
