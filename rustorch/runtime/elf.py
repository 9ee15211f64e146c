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
from collections.abc import Sequence
from dataclasses import dataclass

from rustorch.errors import CompilerBug, compose
from rustorch.runtime import elf_file as elf
from rustorch.runtime.elf_file import (
    Object,
    OutputSection,
    Section,
    SegmentHeader,
    StringTable,
    Symbol,
    SymbolEntry,
    read_object,
    round_up,
    write_file,
)


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


# Merging: the sections of all objects, sorted into five, and every relocation with its target resolved


@dataclass(frozen=True)
class _Definition:
    """Where a symbol lives in the merged sections."""

    symbol: Symbol
    output: OutputSection
    offset: int


@dataclass(frozen=True)
class _Fixup:
    """A relocation of the merged sections."""

    output: OutputSection
    offset: int
    type: int
    target: _Definition
    addend: int


@dataclass(frozen=True)
class _Merged:
    outputs: tuple[OutputSection, ...]
    definitions: tuple[_Definition, ...]
    fixups: tuple[_Fixup, ...]
    exports: tuple[_Definition, ...]


def _merge(data: Sequence[bytes], exports: Sequence[str]) -> _Merged:
    objects = [read_object(one) for one in data]
    outputs = {
        ".rodata": OutputSection(".rodata", elf.SHT_PROGBITS, elf.SHF_ALLOC),
        ".text": OutputSection(".text", elf.SHT_PROGBITS, elf.SHF_ALLOC | elf.SHF_EXECINSTR),
        ".data.rel.ro": OutputSection(".data.rel.ro", elf.SHT_PROGBITS, elf.SHF_ALLOC | elf.SHF_WRITE),
        ".data": OutputSection(".data", elf.SHT_PROGBITS, elf.SHF_ALLOC | elf.SHF_WRITE),
        ".bss": OutputSection(".bss", elf.SHT_NOBITS, elf.SHF_ALLOC | elf.SHF_WRITE),
    }
    pieces: dict[tuple[int, int], tuple[OutputSection, int]] = {}
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
    if constructors or section.flags & elf.SHF_TLS or section.type not in (elf.SHT_PROGBITS, elf.SHT_NOBITS):
        raise CompilerBug(f"linking: a section {section.name} of type {section.type:#x} has no place in a library without a runtime")
    if section.flags & elf.SHF_EXECINSTR:
        return ".text"
    if not section.flags & elf.SHF_WRITE:
        return ".rodata"
    if section.type == elf.SHT_NOBITS:
        return ".bss"
    return ".data.rel.ro" if section.name.startswith(".data.rel.ro") else ".data"


_Key = tuple[int, int]  # object, symbol or section


def _define(objects: Sequence[Object], pieces: dict[_Key, tuple[OutputSection, int]]) -> dict[_Key, _Definition]:
    found: dict[_Key, _Definition] = {}
    for i, one in enumerate(objects):
        for j, symbol in enumerate(one.symbols):
            if (i, symbol.section) in pieces:
                output, start = pieces[i, symbol.section]
                found[i, j] = _Definition(symbol, output, start + symbol.value)
            elif symbol.section >= elf.SHN_LORESERVE and symbol.type != elf.STT_FILE:
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
        if earlier and elf.STB_WEAK not in (symbol.binding, earlier.symbol.binding):
            raise CompilerBug(f"linking: {symbol.name} is defined by two objects")
        if earlier is None or earlier.symbol.binding == elf.STB_WEAK != symbol.binding:
            visible[symbol.name] = definition
    return visible


def _resolve(
    objects: Sequence[Object],
    pieces: dict[_Key, tuple[OutputSection, int]],
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
                target = definitions.get((i, relocation.symbol)) if symbol.binding == elf.STB_LOCAL else visible.get(symbol.name)
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
        if fixup.type not in elf.PC_RELATIVE | {elf.R_64}:
            raise CompilerBug(f"linking: relocation {fixup.type} in {fixup.output.name} is not position independent")
        if fixup.type == elf.R_64 and not fixup.output.flags & elf.SHF_WRITE:
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
        self.names = StringTable()
        self.soname_at = self.names.add(soname)
        self.symbol_names = [self.names.add(definition.symbol.name) for definition in merged.exports]
        # Slots of the global offset table in the order of their first use; code reads an address there.
        self.slots = list(dict.fromkeys(fixup.target for fixup in merged.fixups if fixup.type in elf.GOT_RELATIVE))
        self.pointers = [fixup for fixup in merged.fixups if fixup.type == elf.R_64]

    def write(self) -> bytes:
        segments = self.sections()
        sections = [section for _, group in segments for section in group]
        loads = [(flags, group) for flags, group in segments if group]
        header_bytes = elf.FILE_HEADER.size + elf.SEGMENT_HEADER.size * (len(loads) + 3)
        end = header_bytes
        for k, (_, group) in enumerate(loads):
            end = round_up(end, elf.PAGE) if k else end
            for section in group:
                section.address = round_up(end, section.align)
                end = section.address + section.size
        for index, section in enumerate(sections, start=1):
            section.index = index
        self.fill(sections)
        headers = [self.load(flags, group, 0 if k == 0 else None) for k, (flags, group) in enumerate(loads)]
        return write_file(elf.ET_DYN, sections, [*headers, *self.marks(segments)])

    def sections(self) -> list[tuple[int, list[OutputSection]]]:
        """The sections of each segment, with their sizes."""
        own = {output.name: output for output in self.merged.outputs}
        count = len(self.merged.exports) + 1
        relocations = len(self.slots) + len(self.pointers)
        tables = [
            OutputSection(".hash", elf.SHT_HASH, elf.SHF_ALLOC, 8, 4 * (2 + _buckets(count) + count), entry_bytes=4, link=".dynsym"),
            OutputSection(
                ".dynsym", elf.SHT_DYNSYM, elf.SHF_ALLOC, 8, elf.SYMBOL.size * count, entry_bytes=elf.SYMBOL.size, link=".dynstr", info=1
            ),
            OutputSection(".dynstr", elf.SHT_STRTAB, elf.SHF_ALLOC, 1, len(self.names.content)),
            OutputSection(
                ".rela.dyn", elf.SHT_RELA, elf.SHF_ALLOC, 8, elf.RELA.size * relocations, entry_bytes=elf.RELA.size, link=".dynsym"
            ),
        ]
        got = OutputSection(
            ".got", elf.SHT_PROGBITS, elf.SHF_ALLOC | elf.SHF_WRITE, 8, elf.POINTER_BYTES * len(self.slots), entry_bytes=elf.POINTER_BYTES
        )
        tags = 10 if relocations else 6
        dynamic = OutputSection(
            ".dynamic",
            elf.SHT_DYNAMIC,
            elf.SHF_ALLOC | elf.SHF_WRITE,
            8,
            elf.DYNAMIC.size * tags,
            entry_bytes=elf.DYNAMIC.size,
            link=".dynstr",
        )
        groups = [
            (elf.PF_R, [*tables, own.get(".rodata")]),
            (elf.PF_R | elf.PF_X, [own.get(".text")]),
            (elf.PF_R | elf.PF_W, [own.get(".data.rel.ro"), got, dynamic]),
            (elf.PF_R | elf.PF_W, [own.get(".data"), own.get(".bss")]),
        ]
        return [(flags, [section for section in group if section and section.size]) for flags, group in groups]

    def load(self, flags: int, group: list[OutputSection], start: int | None) -> SegmentHeader:
        """The header of a loaded segment; the first one also loads the headers of the file."""
        first = group[0].address if start is None else start
        in_file = max((one.address + one.size for one in group if one.type != elf.SHT_NOBITS), default=first)
        in_memory = group[-1].address + group[-1].size
        if any(one.name == ".dynamic" for one in group):
            in_memory = round_up(in_memory, elf.PAGE)  # the loader protects whole pages
        return SegmentHeader(elf.PT_LOAD, flags, first, first, first, in_file - first, in_memory - first, elf.PAGE)

    def marks(self, segments: list[tuple[int, list[OutputSection]]]) -> list[SegmentHeader]:
        """Where the dynamic section is, what becomes read-only after relocation, and that the stack is not code."""
        relocated = segments[2][1]
        dynamic = relocated[-1]
        at, start = dynamic.address, relocated[0].address
        in_file = at + dynamic.size - start
        return [
            SegmentHeader(elf.PT_DYNAMIC, elf.PF_R | elf.PF_W, at, at, at, dynamic.size, dynamic.size, dynamic.align),
            SegmentHeader(elf.PT_GNU_RELRO, elf.PF_R, start, start, start, in_file, round_up(in_file, elf.PAGE), 1),
            SegmentHeader(elf.PT_GNU_STACK, elf.PF_R | elf.PF_W, align=16),
        ]

    def fill(self, sections: list[OutputSection]) -> None:
        """The content of the linker's own tables, and the relocations of the others."""
        by_name = {section.name: section for section in sections}
        by_name[".dynstr"].content = bytearray(self.names.content)
        by_name[".dynsym"].content = bytearray(elf.SYMBOL.pack(*SymbolEntry()))
        for name, definition in zip(self.symbol_names, self.merged.exports, strict=True):
            symbol, output = definition.symbol, definition.output
            entry = SymbolEntry(
                name, elf.STB_GLOBAL << 4 | symbol.type, elf.STV_DEFAULT, output.index, output.address + definition.offset, symbol.size
            )
            by_name[".dynsym"].content += elf.SYMBOL.pack(*entry)
        by_name[".hash"].content = _hash_table([definition.symbol.name for definition in self.merged.exports])
        if ".got" in by_name:
            by_name[".got"].content = bytearray(by_name[".got"].size)
        slot_at = {target: by_name[".got"].address + elf.POINTER_BYTES * k for k, target in enumerate(self.slots)}
        relative = [(slot_at[target], target.output.address + target.offset) for target in self.slots]
        for fixup in self.merged.fixups:
            place = fixup.output.address + fixup.offset
            target = fixup.target.output.address + fixup.target.offset
            if fixup.type == elf.R_64:
                relative.append((place, target + fixup.addend))
                continue
            value = (slot_at[fixup.target] if fixup.type in elf.GOT_RELATIVE else target) + fixup.addend - place
            struct.pack_into("<q" if fixup.type == elf.R_PC64 else "<i", fixup.output.content, fixup.offset, value)
        if relative:
            by_name[".rela.dyn"].content = bytearray(
                b"".join(elf.RELA.pack(place, elf.R_RELATIVE, value) for place, value in sorted(relative))
            )
        by_name[".dynamic"].content = bytearray(b"".join(elf.DYNAMIC.pack(*tag) for tag in self.tags(by_name)))

    def tags(self, by_name: dict[str, OutputSection]) -> list[tuple[int, int]]:
        tags = [
            (elf.DT_SONAME, self.soname_at),
            (elf.DT_HASH, by_name[".hash"].address),
            (elf.DT_STRTAB, by_name[".dynstr"].address),
            (elf.DT_STRSZ, by_name[".dynstr"].size),
            (elf.DT_SYMTAB, by_name[".dynsym"].address),
            (elf.DT_SYMENT, elf.SYMBOL.size),
        ]
        if table := by_name.get(".rela.dyn"):
            tags += [
                (elf.DT_RELA, table.address),
                (elf.DT_RELASZ, table.size),
                (elf.DT_RELAENT, elf.RELA.size),
                (elf.DT_RELACOUNT, table.size // elf.RELA.size),
            ]
        return [*tags, (elf.DT_NULL, 0)]


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
    names = StringTable()
    for index, output in enumerate(merged.outputs, start=1):
        output.index = index
    entries = [SymbolEntry(), *(SymbolEntry(info=elf.STT_SECTION, section=output.index) for output in merged.outputs)]
    # Locals come before globals (gABI, "Symbol Table"): names that are not exported stay for debuggers and profilers.
    private = [one for one in merged.definitions if one not in merged.exports and one.symbol.type != elf.STT_SECTION]
    numbers: dict[_Definition, int] = {}
    for definition in (*private, *merged.exports):
        numbers[definition] = len(entries)
        symbol, section = definition.symbol, definition.output.index
        binding = elf.STB_GLOBAL if definition in merged.exports else elf.STB_LOCAL
        entries.append(
            SymbolEntry(names.add(symbol.name), binding << 4 | symbol.type, elf.STV_DEFAULT, section, definition.offset, symbol.size)
        )
    first_global = len(entries) - len(merged.exports)

    relocations: dict[str, bytearray] = {}
    for fixup in merged.fixups:
        number, addend = numbers.get(fixup.target), fixup.addend
        if number is None:
            number, addend = fixup.target.output.index, addend + fixup.target.offset  # the symbol of the section itself
        relocations.setdefault(fixup.output.name, bytearray()).extend(elf.RELA.pack(fixup.offset, number << 32 | fixup.type, addend))

    sections = list(merged.outputs)
    for output in merged.outputs:
        if table := relocations.get(output.name):
            name = f".rela{output.name}"
            sections.append(_table(name, elf.SHT_RELA, table, 8, elf.RELA.size, ".symtab", output.index, elf.SHF_INFO_LINK))
    symbols = bytearray(b"".join(elf.SYMBOL.pack(*entry) for entry in entries))
    sections += [
        _table(".symtab", elf.SHT_SYMTAB, symbols, 8, elf.SYMBOL.size, ".strtab", first_global),
        _table(".strtab", elf.SHT_STRTAB, names.content),
        OutputSection(".note.GNU-stack", elf.SHT_PROGBITS, 0),  # its absence would ask for an executable stack
    ]
    return write_file(elf.ET_REL, sections, [])


def _table(
    name: str, type: int, content: bytearray, align: int = 1, entry_bytes: int = 0, link: str = "", info: int = 0, flags: int = 0
) -> OutputSection:
    return OutputSection(name, type, flags, align, len(content), content, entry_bytes, link, info)
