"""What a file is packed in, told by its first bytes: gzip, bzip2, xz, zstd, zip, or nothing.

The standard library and pyarrow unpack; what comes out is bytes in memory, as the columns
of a load are.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sys
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from glob import glob, has_magic
from pathlib import Path
from typing import Final, Literal

import pyarrow as pa

from barstream.feeds.layout import TickFileError

Kind = Literal["CSV", "Parquet", "JSON lines"]

STDIN: Final = "-"
_MAGIC: Final = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
}
_MARKS: Final = {
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
_PARQUET: Final = b"PAR1"
_SAMPLE_BYTES: Final = 1 << 16
_DATA_SUFFIXES: Final = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson")
_HEAD: Final = 8


@dataclass(frozen=True)
class TickSource:
    """A file of ticks, or what came from standard input.

    Attributes:
        name: as the user knows it.
        path: where it is; None when it is in ``given``.
        given: its bytes, when it has no path.
    """

    name: str
    path: Path | None = None
    given: bytes | None = None

    @cached_property
    def packing(self) -> str | None:
        """What it is packed in."""
        head = self._head
        return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), None)

    @cached_property
    def text(self) -> bytes | Path:
        """What polars reads: unpacked bytes, or the path of a file that is not packed.

        Raises:
            TickFileError: it cannot be read or unpacked.
        """
        try:
            if self.packing is not None:
                return _as_text(_unpacked(self.packed, self.packing, self.name))
            if self.path is None:
                return _as_text(self.packed)
            with self.path.open("rb") as file:
                head = file.read(_SAMPLE_BYTES)
            return self.path if _as_text(head) == head else _as_text(self.packed)
        except (
            OSError, EOFError, lzma.LZMAError, zipfile.BadZipFile, zlib.error, ValueError,
            NotImplementedError, RuntimeError,
        ) as error:  # fmt: skip
            raise TickFileError(
                f"{self.name} begins like {self.packing or 'a text'} and cannot be unpacked, so it "
                "is damaged, cut off or locked by a password: get it again, or unpack it yourself"
            ) from error

    @property
    def packed(self) -> bytes:
        """Its bytes as they are.

        Raises:
            OSError: it cannot be read.
        """
        if self.given is not None:
            return self.given
        assert self.path is not None  # noqa: S101 - one of the two is always there
        return self.path.read_bytes()

    def unpacked(self) -> bytes:
        """All of it in memory."""
        text = self.text
        return text.read_bytes() if isinstance(text, Path) else text

    def beginning(self, size: int) -> bytes:
        """The first ``size`` bytes, unpacked."""
        text = self.text
        if isinstance(text, Path):
            with text.open("rb") as file:
                return file.read(size)
        return text[:size]

    @cached_property
    def kind(self) -> Kind:
        """By its content, not by its name."""
        head = self.beginning(_HEAD + 512)
        if head.startswith(_PARQUET):
            return "Parquet"
        return "JSON lines" if head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{" else "CSV"

    @property
    def stem(self) -> str:
        """The name of the file up to its first point."""
        return Path(self.name).name.partition(".")[0]

    @cached_property
    def _head(self) -> bytes:
        if self.given is not None:
            return self.given[:_HEAD]
        assert self.path is not None  # noqa: S101 - one of the two is always there
        try:
            with self.path.open("rb") as file:
                return file.read(_HEAD)
        except OSError as error:
            raise TickFileError(
                f"{self.name} must be a file that can be read: {error.strerror}"
            ) from error


def sources_of(names: Sequence[str]) -> list[TickSource]:
    """The files that ``names`` name, each once: paths, patterns such as ``ticks/*.csv``, ``-``.

    Raises:
        TickFileError: there is no such file.
    """
    found: dict[str, TickSource] = {}
    for name in names:
        if name == STDIN:
            found[name] = TickSource("stdin", given=sys.stdin.buffer.read())
            continue
        path = Path(name)
        paths = [path] if path.exists() or not has_magic(name) else _matched(name)
        matched = [each for each in paths if each.is_file()]
        if not matched:
            what = "is a directory" if path.is_dir() else "is not there"
            raise TickFileError(
                f"{name} {what}: name a file, or a pattern in quotes such as 'ticks/*.csv'"
            )
        for each in matched:
            found.setdefault(str(each.resolve()), TickSource(each.name, each))
    return list(found.values())


def _matched(pattern: str) -> list[Path]:
    # Path.glob wants to know where to begin, and has no relative pattern that goes up
    return [Path(name) for name in sorted(glob(pattern, recursive=True))]  # noqa: PTH207


def _as_text(data: bytes) -> bytes:
    """Bytes as polars reads them: UTF-8 (or Parquet, as it is), with line feeds between rows."""
    if data.startswith(_PARQUET):
        return data
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), None)
    if encoding is not None:
        data = data.decode(encoding, errors="replace").encode()
    head = data[:_SAMPLE_BYTES]
    return data.replace(b"\r", b"\n") if b"\r" in head and b"\n" not in head else data


def _unpacked(packed: bytes, packing: str, name: str) -> bytes:
    if packing == "gzip":
        return gzip.decompress(packed)
    if packing == "bzip2":
        return bz2.decompress(packed)
    if packing == "xz":
        return lzma.decompress(packed)
    if packing == "zstd":
        return bytes(pa.CompressedInputStream(io.BytesIO(packed), "zstd").read())
    return _member(packed, name)


def _member(packed: bytes, name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        members = [
            info.filename
            for info in archive.infolist()
            if not info.is_dir() and not info.filename.startswith("__MACOSX")
        ]
        data = [each for each in members if each.lower().endswith(_DATA_SUFFIXES)] or members
        if len(data) != 1:
            raise TickFileError(
                f"{name} must hold one file of ticks, found {', '.join(data) or 'none'}: unpack it "
                "and name the files"
            )
        return archive.read(data[0])
