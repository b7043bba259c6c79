"""What an ELF file says of itself, as far as it is asked here."""

import re
import struct

MACHINES = {62: "x86_64", 183: "aarch64"}


class Elf:
    """The sections of a 64-bit little-endian ELF file."""

    def __init__(self, path):
        self.data = path.read_bytes()
        if self.data[:6] != b"\x7fELF\x02\x01":
            raise ValueError(f"{path} is not a 64-bit ELF file")
        number = struct.unpack_from("<H", self.data, 18)[0]
        self.machine = MACHINES.get(number, f"machine {number}")
        start = struct.unpack_from("<Q", self.data, 40)[0]
        size, count, names = struct.unpack_from("<HHH", self.data, 58)
        headers = [struct.unpack_from("<IIQQQQ", self.data, start + index * size) for index in range(count)]
        offset_of_names = headers[names][4]
        self.sections = {}
        for name, _, _, _, offset, length in headers:
            begin = offset_of_names + name
            text = self.data[begin : self.data.index(b"\0", begin)].decode()
            self.sections[text] = (offset, length)

    def size_of(self, section):
        """How many bytes a section has; none if there is none of that name."""
        return self.sections.get(section, (0, 0))[1]

    def newest_glibc(self):
        """The newest version of glibc that a symbol is wanted of."""
        offset, length = self.sections.get(".dynstr", (0, 0))
        wanted = re.findall(rb"GLIBC_(\d+)\.(\d+)", self.data[offset : offset + length])
        return max(((int(major), int(minor)) for major, minor in wanted), default=(0, 0))
