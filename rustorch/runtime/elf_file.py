"""The ELF file format as records: what an object says, and how a file is written.

Names and numbers are those of the System V ABI (gABI 4.1, chapters 4 and 5) and its x86-64 supplement (psABI 1.0), 64-bit and
little-endian throughout.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from rustorch.errors import CompilerBug, Unsupported

PAGE = 0x1000

# e_ident, e_type, e_machine
IDENT = b"\x7fELF\x02\x01\x01" + bytes(9)  # 64 bits, little-endian, version 1, System V
ET_REL, ET_DYN = 1, 3
EM_X86_64 = 62

# Section types, flags, special indices
SHT_NULL, SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_RELA, SHT_HASH, SHT_DYNAMIC, SHT_NOBITS, SHT_DYNSYM = 0, 1, 2, 3, 4, 5, 6, 8, 11
SHT_X86_64_UNWIND = 0x70000001
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR, SHF_INFO_LINK, SHF_TLS = 0x1, 0x2, 0x4, 0x40, 0x400
SHN_UNDEF, SHN_LORESERVE, SHN_ABS = 0, 0xFF00, 0xFFF1

# Symbol bindings, types, visibility
STB_LOCAL, STB_GLOBAL, STB_WEAK = 0, 1, 2
STT_NOTYPE, STT_SECTION, STT_FILE = 0, 3, 4
STV_DEFAULT = 0

# Relocations of x86-64
R_64, R_PC32, R_PLT32, R_RELATIVE, R_GOTPCREL, R_PC64, R_GOTPCRELX, R_REX_GOTPCRELX = 1, 2, 4, 8, 9, 24, 41, 42
GOT_RELATIVE = frozenset({R_GOTPCREL, R_GOTPCRELX, R_REX_GOTPCRELX})
PC_RELATIVE = frozenset({R_PC32, R_PLT32, R_PC64}) | GOT_RELATIVE
POINTER_BYTES = 8

# Segments and dynamic tags
PT_LOAD, PT_DYNAMIC, PT_GNU_STACK, PT_GNU_RELRO = 1, 2, 0x6474E551, 0x6474E552
PF_X, PF_W, PF_R = 1, 2, 4
DT_NULL, DT_HASH, DT_STRTAB, DT_SYMTAB, DT_RELA, DT_RELASZ, DT_RELAENT, DT_STRSZ, DT_SYMENT, DT_SONAME = 0, 4, 5, 6, 7, 8, 9, 10, 11, 14
DT_RELACOUNT = 0x6FFFFFF9


class FileHeader(NamedTuple):
    """`Elf64_Ehdr`: the first 64 bytes."""

    ident: bytes
    type: int
    machine: int
    version: int
    entry: int
    segments_at: int
    sections_at: int
    flags: int
    header_bytes: int
    segment_bytes: int
    segments: int
    section_bytes: int
    sections: int
    names_section: int


class SectionHeader(NamedTuple):
    """`Elf64_Shdr`."""

    name: int = 0
    type: int = SHT_NULL
    flags: int = 0
    address: int = 0
    offset: int = 0
    size: int = 0
    link: int = 0
    info: int = 0
    align: int = 0
    entry_bytes: int = 0


class SegmentHeader(NamedTuple):
    """`Elf64_Phdr`."""

    type: int
    flags: int
    offset: int = 0
    address: int = 0
    physical: int = 0
    file_bytes: int = 0
    memory_bytes: int = 0
    align: int = 0


class SymbolEntry(NamedTuple):
    """`Elf64_Sym`; `info` packs binding and type."""

    name: int = 0
    info: int = 0
    visibility: int = STV_DEFAULT
    section: int = SHN_UNDEF
    value: int = 0
    size: int = 0


FILE_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
SECTION_HEADER = struct.Struct("<IIQQQQIIQQ")
SEGMENT_HEADER = struct.Struct("<IIQQQQQQ")
SYMBOL = struct.Struct("<IBBHQQ")
RELA = struct.Struct("<QQq")  # offset; symbol << 32 | type; addend
DYNAMIC = struct.Struct("<QQ")  # tag; value


@dataclass(frozen=True)
class Section:
    """A section of an object. `content` is empty where the file holds none (`SHT_NOBITS`)."""

    name: str
    type: int
    flags: int
    align: int
    size: int
    content: bytes

    @property
    def loaded(self) -> bool:
        """Whether the section is part of the running program."""
        return bool(self.flags & SHF_ALLOC) and self.type != SHT_X86_64_UNWIND and self.name != ".eh_frame"


@dataclass(frozen=True)
class Symbol:
    """A symbol of an object; `section` is an index into its sections, or `SHN_UNDEF`."""

    name: str
    binding: int
    type: int
    section: int
    value: int
    size: int

    @property
    def imported(self) -> bool:
        """Whether another object has to define the symbol."""
        return self.section == SHN_UNDEF and bool(self.name)

    @property
    def exported(self) -> bool:
        """Whether other objects see the symbol."""
        return self.section != SHN_UNDEF and self.binding != STB_LOCAL


@dataclass(frozen=True)
class Relocation:
    """A place in a section whose bytes depend on a symbol's address."""

    offset: int
    type: int
    symbol: int
    addend: int


@dataclass(frozen=True)
class Object:
    """What an object file says. `relocations` are keyed by the index of the section that they change."""

    sections: tuple[Section, ...]
    symbols: tuple[Symbol, ...]
    relocations: dict[int, tuple[Relocation, ...]]


def read_object(data: bytes) -> Object:
    """The sections, symbols and relocations of an x86-64 relocatable object."""
    try:
        return _read_object(data)
    except (struct.error, IndexError, ValueError, UnicodeDecodeError) as error:
        raise CompilerBug(f"linking: these {len(data)} bytes are not an ELF object ({error})") from error


# Reading


def _read_object(data: bytes) -> Object:
    header = FileHeader._make(FILE_HEADER.unpack_from(data, 0))
    if header.ident[:6] != IDENT[:6] or header.type != ET_REL:
        raise ValueError("no header of a 64-bit relocatable file")
    if header.machine != EM_X86_64:
        raise Unsupported(f"linking objects of ELF machine {header.machine}: only x86-64 ({EM_X86_64}) is linked")
    headers = [
        SectionHeader._make(SECTION_HEADER.unpack_from(data, header.sections_at + i * SECTION_HEADER.size)) for i in range(header.sections)
    ]
    names = _content(data, headers[header.names_section])
    sections = tuple(Section(_text(names, h.name), h.type, h.flags, max(h.align, 1), h.size, _content(data, h)) for h in headers)
    symbols: tuple[Symbol, ...] = ()
    relocations: dict[int, tuple[Relocation, ...]] = {}
    for h in headers:
        if h.type == SHT_SYMTAB:
            symbols = _read_symbols(_content(data, h), _content(data, headers[h.link]))
        elif h.type == SHT_RELA:
            relocations[h.info] = tuple(
                Relocation(offset, info & 0xFFFFFFFF, info >> 32, addend) for offset, info, addend in RELA.iter_unpack(_content(data, h))
            )
    return Object(sections, symbols, relocations)


def _read_symbols(table: bytes, names: bytes) -> tuple[Symbol, ...]:
    entries = map(SymbolEntry._make, SYMBOL.iter_unpack(table))
    return tuple(Symbol(_text(names, e.name), e.info >> 4, e.info & 0xF, e.section, e.value, e.size) for e in entries)


def _content(data: bytes, header: SectionHeader) -> bytes:
    if header.type in (SHT_NULL, SHT_NOBITS):
        return b""
    content = data[header.offset : header.offset + header.size]
    if len(content) != header.size:
        raise ValueError("the file ends inside a section")
    return content


def _text(names: bytes, start: int) -> str:
    return names[start : names.index(b"\0", start)].decode()


# Writing


@dataclass(eq=False)
class OutputSection:
    """A section of the file being written. Address and file offset are the same number in a shared library."""

    name: str
    type: int
    flags: int
    align: int = 1
    size: int = 0
    content: bytearray = field(default_factory=bytearray)
    entry_bytes: int = 0
    link: str = ""
    info: int = 0
    address: int = 0
    index: int = 0

    def append(self, content: bytes, align: int, size: int) -> int:
        """Place a piece behind the earlier ones; its offset."""
        offset = round_up(self.size, align)
        self.align = max(self.align, align)
        self.size = offset + size
        if self.type != SHT_NOBITS:
            self.content.extend(bytes(offset - len(self.content)) + content)
        return offset


class StringTable:
    """Names behind each other, each ended by a zero byte; equal names share one place."""

    def __init__(self) -> None:
        self.content = bytearray(b"\0")
        self.places = {"": 0}

    def add(self, name: str) -> int:
        """The offset of a name."""
        if name not in self.places:
            self.places[name] = len(self.content)
            self.content += name.encode() + b"\0"
        return self.places[name]


def write_file(kind: int, sections: Sequence[OutputSection], segments: Sequence[SegmentHeader]) -> bytes:
    """The bytes of a file: header, segment headers, sections, section headers.

    Sections with an address stand at the offset of that number; the others follow each other.
    """
    file = bytearray(FILE_HEADER.size + SEGMENT_HEADER.size * len(segments))
    names = StringTable()
    name_section = OutputSection(".shstrtab", SHT_STRTAB, 0)
    every = [*sections, name_section]
    numbers = {section.name: index for index, section in enumerate(every, start=1)}
    name_at = [names.add(section.name) for section in every]
    name_section.content, name_section.size = names.content, len(names.content)
    headers = [SectionHeader()]
    for name, section in zip(name_at, every, strict=True):
        offset = section.address or round_up(len(file), section.align)
        if section.type != SHT_NOBITS:
            file.extend(bytes(offset - len(file)) + section.content)
        headers.append(
            SectionHeader(
                name,
                section.type,
                section.flags,
                section.address,
                offset,
                section.size,
                numbers.get(section.link, 0),
                section.info,
                section.align,
                section.entry_bytes,
            )
        )
    file.extend(bytes(round_up(len(file), 8) - len(file)))
    header = FileHeader(
        IDENT,
        kind,
        EM_X86_64,
        1,
        0,
        FILE_HEADER.size if segments else 0,
        len(file),
        0,
        FILE_HEADER.size,
        SEGMENT_HEADER.size if segments else 0,
        len(segments),
        SECTION_HEADER.size,
        len(headers),
        len(headers) - 1,
    )
    FILE_HEADER.pack_into(file, 0, *header)
    file[FILE_HEADER.size : FILE_HEADER.size + SEGMENT_HEADER.size * len(segments)] = _pack(SEGMENT_HEADER, segments)
    return bytes(file + _pack(SECTION_HEADER, headers))


def _pack(layout: struct.Struct, records: Iterable[tuple[object, ...]]) -> bytes:
    return b"".join(layout.pack(*record) for record in records)


def round_up(value: int, align: int) -> int:
    """The first multiple of `align` from `value` on."""
    return -(-value // align) * align
