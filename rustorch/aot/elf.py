"""A linker in Python for the objects that code generation emits: no system linker, no undefined symbol.

`shared_library` makes a library that `dlopen` and `cc main.c -lname` take; `relocatable` makes one object of several. Both
read x86-64 ELF objects with position-independent code, resolve the calls between them, and hide every symbol that is not
exported. Names and layouts follow the System V ABI (gABI 4.1, chapters 4 and 5) and its x86-64 supplement (psABI 1.0,
section 4.4 for the relocations). The same input gives the same bytes.

What such objects never need, and what is therefore refused: imports, constructors, thread-local and common symbols,
relocations of code that is not position independent. Unwind tables and debug sections are left out: compiled functions are
`nounwind` and call nobody.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from rustorch.errors import CompilerBug, Unsupported, compose

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


def defined_symbols(data: bytes) -> list[str]:
    """Names that the object defines for others, sorted."""
    return sorted(symbol.name for symbol in read_object(data).symbols if symbol.exported)


def undefined_symbols(data: bytes) -> list[str]:
    """Names that the object leaves to others, sorted."""
    return sorted(symbol.name for symbol in read_object(data).symbols if symbol.imported)


def shared_library(objects: Sequence[bytes], exports: Sequence[str], soname: str) -> bytes:
    """A shared library of the objects, in which `exports` are visible and everything else is hidden.

    The stack is not executable, no page is both writable and executable, and what the loader relocates is read-only
    afterwards. Raises `CompilerBug` for an undefined or doubly defined symbol.
    """
    return _LibraryWriter(_merge(objects, exports), soname).write()


def relocatable(objects: Sequence[bytes], exports: Sequence[str]) -> bytes:
    """One object of several, in which `exports` are global and everything else is local. Raises as `shared_library` does."""
    return _write_relocatable(_merge(objects, exports))


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


# Merging: the sections of all objects, sorted into five, and every relocation with its target resolved


@dataclass(eq=False)
class _Output:
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
        offset = _round_up(self.size, align)
        self.align = max(self.align, align)
        self.size = offset + size
        if self.type != SHT_NOBITS:
            self.content.extend(bytes(offset - len(self.content)) + content)
        return offset


@dataclass(frozen=True)
class _Definition:
    """Where a symbol lives in the merged sections."""

    symbol: Symbol
    output: _Output
    offset: int


@dataclass(frozen=True)
class _Fixup:
    """A relocation of the merged sections."""

    output: _Output
    offset: int
    type: int
    target: _Definition
    addend: int


@dataclass(frozen=True)
class _Merged:
    outputs: tuple[_Output, ...]
    definitions: tuple[_Definition, ...]
    fixups: tuple[_Fixup, ...]
    exports: tuple[_Definition, ...]


def _merge(data: Sequence[bytes], exports: Sequence[str]) -> _Merged:
    objects = [read_object(one) for one in data]
    outputs = {
        ".rodata": _Output(".rodata", SHT_PROGBITS, SHF_ALLOC),
        ".text": _Output(".text", SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR),
        ".data.rel.ro": _Output(".data.rel.ro", SHT_PROGBITS, SHF_ALLOC | SHF_WRITE),
        ".data": _Output(".data", SHT_PROGBITS, SHF_ALLOC | SHF_WRITE),
        ".bss": _Output(".bss", SHT_NOBITS, SHF_ALLOC | SHF_WRITE),
    }
    pieces: dict[tuple[int, int], tuple[_Output, int]] = {}
    for i, one in enumerate(objects):
        for j, section in enumerate(one.sections):
            if section.loaded:
                output = outputs[_room(section)]
                pieces[i, j] = output, output.append(section.content, section.align, section.size)
    definitions = _define(objects, pieces)
    visible = _visible(definitions)
    if missing := sorted(set(exports) - visible.keys()):
        raise CompilerBug(compose(f"linking: no object defines {', '.join(missing)}", f"defined: {', '.join(sorted(visible))}"))
    fixups = _resolve(objects, pieces, definitions, visible)
    return _Merged(
        tuple(output for output in outputs.values() if output.size),
        tuple(definitions.values()),
        tuple(fixups),
        tuple(visible[name] for name in sorted(set(exports))),
    )


def _room(section: Section) -> str:
    """The merged section that a section goes to."""
    constructors = section.name.startswith((".init_array", ".fini_array", ".ctors", ".dtors"))
    if constructors or section.flags & SHF_TLS or section.type not in (SHT_PROGBITS, SHT_NOBITS):
        raise CompilerBug(f"linking: a section {section.name} of type {section.type:#x} has no place in a library without a runtime")
    if section.flags & SHF_EXECINSTR:
        return ".text"
    if not section.flags & SHF_WRITE:
        return ".rodata"
    if section.type == SHT_NOBITS:
        return ".bss"
    return ".data.rel.ro" if section.name.startswith(".data.rel.ro") else ".data"


_Key = tuple[int, int]  # object, symbol or section


def _define(objects: Sequence[Object], pieces: dict[_Key, tuple[_Output, int]]) -> dict[_Key, _Definition]:
    found: dict[_Key, _Definition] = {}
    for i, one in enumerate(objects):
        for j, symbol in enumerate(one.symbols):
            if (i, symbol.section) in pieces:
                output, start = pieces[i, symbol.section]
                found[i, j] = _Definition(symbol, output, start + symbol.value)
            elif symbol.section >= SHN_LORESERVE and symbol.type != STT_FILE:
                raise CompilerBug(f"linking: symbol {symbol.name} lies in no section (index {symbol.section:#x})")
    return found


def _visible(definitions: dict[_Key, _Definition]) -> dict[str, _Definition]:
    """Definitions by name, of those that other objects see. A strong one wins over weak ones, of which the first counts."""
    visible: dict[str, _Definition] = {}
    for definition in definitions.values():
        symbol = definition.symbol
        if not symbol.exported:
            continue
        earlier = visible.get(symbol.name)
        if earlier and STB_WEAK not in (symbol.binding, earlier.symbol.binding):
            raise CompilerBug(f"linking: {symbol.name} is defined by two objects")
        if earlier is None or earlier.symbol.binding == STB_WEAK != symbol.binding:
            visible[symbol.name] = definition
    return visible


def _resolve(
    objects: Sequence[Object],
    pieces: dict[_Key, tuple[_Output, int]],
    definitions: dict[_Key, _Definition],
    visible: dict[str, _Definition],
) -> list[_Fixup]:
    fixups: list[_Fixup] = []
    undefined: set[str] = set()
    for i, one in enumerate(objects):
        undefined |= {symbol.name for symbol in one.symbols if symbol.imported and symbol.name not in visible}
        for j, relocations in one.relocations.items():
            if (i, j) not in pieces:
                continue
            output, start = pieces[i, j]
            for relocation in relocations:
                symbol = one.symbols[relocation.symbol]
                target = definitions.get((i, relocation.symbol)) if symbol.binding == STB_LOCAL else visible.get(symbol.name)
                if target:
                    fixups.append(_Fixup(output, start + relocation.offset, relocation.type, target, relocation.addend))
                elif symbol.name not in undefined:
                    raise CompilerBug(f"linking: {output.name} refers to {symbol.name!r}, which lies in no loaded section")
    if undefined:
        raise CompilerBug(
            compose(
                f"linking: undefined symbols {', '.join(sorted(undefined))}",
                "a compiled function calls no library: LLVM made these calls from an intrinsic or a loop",
                todo='Mark the functions "no-builtins" and expand the intrinsic before emission.',
            )
        )
    for fixup in fixups:
        if fixup.type not in PC_RELATIVE | {R_64}:
            raise CompilerBug(f"linking: relocation {fixup.type} in {fixup.output.name} is not position independent")
        if fixup.type == R_64 and not fixup.output.flags & SHF_WRITE:
            raise CompilerBug(f"linking: an address of {fixup.target.symbol.name!r} in the read-only section {fixup.output.name}")
    return fixups


# Writing a shared library


class _LibraryWriter:
    """Lays out and writes one shared library.

    Four segments, each on pages of its own: constants and tables (read only), code (read and execute), what the loader
    relocates (written once, then read only), variables (read and write).
    """

    def __init__(self, merged: _Merged, soname: str) -> None:
        self.merged = merged
        self.names = _StringTable()
        self.soname_at = self.names.add(soname)
        self.symbol_names = [self.names.add(definition.symbol.name) for definition in merged.exports]
        # Slots of the global offset table in the order of their first use; code reads an address there.
        self.slots = list(dict.fromkeys(fixup.target for fixup in merged.fixups if fixup.type in GOT_RELATIVE))
        self.pointers = [fixup for fixup in merged.fixups if fixup.type == R_64]

    def write(self) -> bytes:
        segments = self.sections()
        sections = [section for _, group in segments for section in group]
        loads = [(flags, group) for flags, group in segments if group]
        header_bytes = FILE_HEADER.size + SEGMENT_HEADER.size * (len(loads) + 3)
        end = header_bytes
        for k, (_, group) in enumerate(loads):
            end = _round_up(end, PAGE) if k else end
            for section in group:
                section.address = _round_up(end, section.align)
                end = section.address + section.size
        for index, section in enumerate(sections, start=1):
            section.index = index
        self.fill(sections)
        headers = [self.load(flags, group, 0 if k == 0 else None) for k, (flags, group) in enumerate(loads)]
        return _write_file(ET_DYN, sections, [*headers, *self.marks(segments)])

    def sections(self) -> list[tuple[int, list[_Output]]]:
        """The sections of each segment, with their sizes."""
        own = {output.name: output for output in self.merged.outputs}
        count = len(self.merged.exports) + 1
        relocations = len(self.slots) + len(self.pointers)
        tables = [
            _Output(".hash", SHT_HASH, SHF_ALLOC, 8, 4 * (2 + _buckets(count) + count), entry_bytes=4, link=".dynsym"),
            _Output(".dynsym", SHT_DYNSYM, SHF_ALLOC, 8, SYMBOL.size * count, entry_bytes=SYMBOL.size, link=".dynstr", info=1),
            _Output(".dynstr", SHT_STRTAB, SHF_ALLOC, 1, len(self.names.content)),
            _Output(".rela.dyn", SHT_RELA, SHF_ALLOC, 8, RELA.size * relocations, entry_bytes=RELA.size, link=".dynsym"),
        ]
        got = _Output(".got", SHT_PROGBITS, SHF_ALLOC | SHF_WRITE, 8, POINTER_BYTES * len(self.slots), entry_bytes=POINTER_BYTES)
        tags = 10 if relocations else 6
        dynamic = _Output(".dynamic", SHT_DYNAMIC, SHF_ALLOC | SHF_WRITE, 8, DYNAMIC.size * tags, entry_bytes=DYNAMIC.size, link=".dynstr")
        groups = [
            (PF_R, [*tables, own.get(".rodata")]),
            (PF_R | PF_X, [own.get(".text")]),
            (PF_R | PF_W, [own.get(".data.rel.ro"), got, dynamic]),
            (PF_R | PF_W, [own.get(".data"), own.get(".bss")]),
        ]
        return [(flags, [section for section in group if section and section.size]) for flags, group in groups]

    def load(self, flags: int, group: list[_Output], start: int | None) -> SegmentHeader:
        """The header of a loaded segment; the first one also loads the headers of the file."""
        first = group[0].address if start is None else start
        in_file = max((one.address + one.size for one in group if one.type != SHT_NOBITS), default=first)
        in_memory = group[-1].address + group[-1].size
        if any(one.name == ".dynamic" for one in group):
            in_memory = _round_up(in_memory, PAGE)  # the loader protects whole pages
        return SegmentHeader(PT_LOAD, flags, first, first, first, in_file - first, in_memory - first, PAGE)

    def marks(self, segments: list[tuple[int, list[_Output]]]) -> list[SegmentHeader]:
        """Where the dynamic section is, what becomes read-only after relocation, and that the stack is not code."""
        relocated = segments[2][1]
        dynamic = relocated[-1]
        at, start = dynamic.address, relocated[0].address
        in_file = at + dynamic.size - start
        return [
            SegmentHeader(PT_DYNAMIC, PF_R | PF_W, at, at, at, dynamic.size, dynamic.size, dynamic.align),
            SegmentHeader(PT_GNU_RELRO, PF_R, start, start, start, in_file, _round_up(in_file, PAGE), 1),
            SegmentHeader(PT_GNU_STACK, PF_R | PF_W, align=16),
        ]

    def fill(self, sections: list[_Output]) -> None:
        """The content of the linker's own tables, and the relocations of the others."""
        by_name = {section.name: section for section in sections}
        by_name[".dynstr"].content = bytearray(self.names.content)
        by_name[".dynsym"].content = bytearray(SYMBOL.pack(*SymbolEntry()))
        for name, definition in zip(self.symbol_names, self.merged.exports, strict=True):
            symbol, output = definition.symbol, definition.output
            entry = SymbolEntry(
                name, STB_GLOBAL << 4 | symbol.type, STV_DEFAULT, output.index, output.address + definition.offset, symbol.size
            )
            by_name[".dynsym"].content += SYMBOL.pack(*entry)
        by_name[".hash"].content = _hash_table([definition.symbol.name for definition in self.merged.exports])
        if ".got" in by_name:
            by_name[".got"].content = bytearray(by_name[".got"].size)
        slot_at = {target: by_name[".got"].address + POINTER_BYTES * k for k, target in enumerate(self.slots)}
        relative = [(slot_at[target], target.output.address + target.offset) for target in self.slots]
        for fixup in self.merged.fixups:
            place = fixup.output.address + fixup.offset
            target = fixup.target.output.address + fixup.target.offset
            if fixup.type == R_64:
                relative.append((place, target + fixup.addend))
                continue
            value = (slot_at[fixup.target] if fixup.type in GOT_RELATIVE else target) + fixup.addend - place
            struct.pack_into("<q" if fixup.type == R_PC64 else "<i", fixup.output.content, fixup.offset, value)
        if relative:
            by_name[".rela.dyn"].content = bytearray(b"".join(RELA.pack(place, R_RELATIVE, value) for place, value in sorted(relative)))
        by_name[".dynamic"].content = bytearray(b"".join(DYNAMIC.pack(*tag) for tag in self.tags(by_name)))

    def tags(self, by_name: dict[str, _Output]) -> list[tuple[int, int]]:
        tags = [
            (DT_SONAME, self.soname_at),
            (DT_HASH, by_name[".hash"].address),
            (DT_STRTAB, by_name[".dynstr"].address),
            (DT_STRSZ, by_name[".dynstr"].size),
            (DT_SYMTAB, by_name[".dynsym"].address),
            (DT_SYMENT, SYMBOL.size),
        ]
        if table := by_name.get(".rela.dyn"):
            tags += [
                (DT_RELA, table.address),
                (DT_RELASZ, table.size),
                (DT_RELAENT, RELA.size),
                (DT_RELACOUNT, table.size // RELA.size),
            ]
        return [*tags, (DT_NULL, 0)]


class _StringTable:
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


def _hash_table(names: Sequence[str]) -> bytearray:
    """The System V hash table of symbols 1, 2, … (gABI, figure 5-12): buckets, then a chain of symbol indices."""
    buckets = [0] * _buckets(len(names) + 1)
    chain = [0] * (len(names) + 1)
    for index, name in enumerate(names, start=1):
        bucket = _name_hash(name) % len(buckets)
        chain[index], buckets[bucket] = buckets[bucket], index
    words = [len(buckets), len(chain), *buckets, *chain]
    return bytearray(struct.pack(f"<{len(words)}I", *words))


def _name_hash(name: str) -> int:
    """The hash of a symbol's name (gABI, figure 5-13)."""
    value = 0
    for byte in name.encode():
        value = (value << 4) + byte
        high = value & 0xF0000000
        value = (value ^ high >> 24) & ~high
    return value


def _buckets(symbols: int) -> int:
    return max(1, symbols // 2)


# Writing an object


def _write_relocatable(merged: _Merged) -> bytes:
    names = _StringTable()
    for index, output in enumerate(merged.outputs, start=1):
        output.index = index
    entries = [SymbolEntry(), *(SymbolEntry(info=STT_SECTION, section=output.index) for output in merged.outputs)]
    # Locals come before globals (gABI, "Symbol Table"): names that are not exported stay for debuggers and profilers.
    private = [one for one in merged.definitions if one not in merged.exports and one.symbol.type != STT_SECTION]
    numbers: dict[_Definition, int] = {}
    for definition in (*private, *merged.exports):
        numbers[definition] = len(entries)
        symbol, section = definition.symbol, definition.output.index
        binding = STB_GLOBAL if definition in merged.exports else STB_LOCAL
        entries.append(
            SymbolEntry(names.add(symbol.name), binding << 4 | symbol.type, STV_DEFAULT, section, definition.offset, symbol.size)
        )
    first_global = len(entries) - len(merged.exports)

    relocations: dict[str, bytearray] = {}
    for fixup in merged.fixups:
        number, addend = numbers.get(fixup.target), fixup.addend
        if number is None:
            number, addend = fixup.target.output.index, addend + fixup.target.offset  # the symbol of the section itself
        relocations.setdefault(fixup.output.name, bytearray()).extend(RELA.pack(fixup.offset, number << 32 | fixup.type, addend))

    sections = list(merged.outputs)
    for output in merged.outputs:
        if table := relocations.get(output.name):
            name = f".rela{output.name}"
            sections.append(_table(name, SHT_RELA, table, 8, RELA.size, ".symtab", output.index, SHF_INFO_LINK))
    symbols = bytearray(b"".join(SYMBOL.pack(*entry) for entry in entries))
    sections += [
        _table(".symtab", SHT_SYMTAB, symbols, 8, SYMBOL.size, ".strtab", first_global),
        _table(".strtab", SHT_STRTAB, names.content),
        _Output(".note.GNU-stack", SHT_PROGBITS, 0),  # its absence would ask for an executable stack
    ]
    return _write_file(ET_REL, sections, [])


def _table(
    name: str, type: int, content: bytearray, align: int = 1, entry_bytes: int = 0, link: str = "", info: int = 0, flags: int = 0
) -> _Output:
    return _Output(name, type, flags, align, len(content), content, entry_bytes, link, info)


# Both kinds of file


def _write_file(kind: int, sections: Sequence[_Output], segments: Sequence[SegmentHeader]) -> bytes:
    """The bytes of a file: header, segment headers, sections, section headers.

    Sections with an address stand at the offset of that number; the others follow each other.
    """
    file = bytearray(FILE_HEADER.size + SEGMENT_HEADER.size * len(segments))
    names = _StringTable()
    name_section = _Output(".shstrtab", SHT_STRTAB, 0)
    every = [*sections, name_section]
    numbers = {section.name: index for index, section in enumerate(every, start=1)}
    name_at = [names.add(section.name) for section in every]
    name_section.content, name_section.size = names.content, len(names.content)
    headers = [SectionHeader()]
    for name, section in zip(name_at, every, strict=True):
        offset = section.address or _round_up(len(file), section.align)
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
    file.extend(bytes(_round_up(len(file), 8) - len(file)))
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


def _round_up(value: int, align: int) -> int:
    return -(-value // align) * align
