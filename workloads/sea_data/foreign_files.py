"""Files that are something else than their name says, known by their first bytes. Pure.

A repository cloned without Git LFS, a Parquet file called `.jsonl`, a page that asks to log
in: line by line each gives a sentence about JSON, and as a policy it would be read as it is.
"""

from sea_data.errors import DataFileError

_LFS = b"version https://git-lfs"
_SENTENCES = {
    _LFS: "is a Git LFS pointer, not the file itself: run `git lfs pull` in its folder, and upload "
    "it again",
    b"PK\x03\x04": "is a ZIP archive: unpack it",
    b"PAR1": "is a Parquet file: write its rows as JSON lines (HF datasets: `Dataset.to_json`)",
    b"ARROW1": "is an Arrow file: write its rows as JSON lines (HF datasets: `Dataset.to_json`)",
    b"\xff\xfe": "is text in UTF-16: save it as UTF-8",
    b"\xfe\xff": "is text in UTF-16: save it as UTF-8",
    b"SQLite format 3\x00": "is an SQLite database: export it as JSON",
}
_PACKED = {
    b"\x1f\x8b": "is packed by gzip: unpack it, or give its name the ending .gz",
    b"\x28\xb5\x2f\xfd": "is packed by Zstandard: unpack it, or give its name the ending .zst",
    b"BZh": "is packed by bzip2: unpack it, or give its name the ending .bz2",
    b"\xfd7zXZ\x00": "is packed by xz: unpack it, or give its name the ending .xz",
}
_BOM = b"\xef\xbb\xbf"
_PAGES = (b"<!doctype html", b"<html")


def is_lfs_pointer(begin: bytes) -> bool:
    """True if a file is Git LFS's few lines in place of the content."""
    return begin.startswith(_LFS)


def refuse(begin: bytes, name: str) -> None:
    """Raises DataFileError if the file is no text of the kinds that are read here.

    Args:
        begin: the first bytes, of a packed file of what it unpacks to.
    """
    refuse_unpacked(begin, name)
    for magic, sentence in _PACKED.items():
        if begin.startswith(magic):
            raise DataFileError(name, f"{sentence}.")


def refuse_unpacked(begin: bytes, name: str) -> None:
    """As `refuse`, for a file whose name says that it is packed: it may be."""
    for magic, sentence in _SENTENCES.items():
        if begin.startswith(magic):
            raise DataFileError(name, f"{sentence}.")
    if begin.removeprefix(_BOM).lstrip()[:64].lower().startswith(_PAGES):
        raise DataFileError(name, "is a web page, not the file: download the file itself.")


def text(content: bytes, name: str) -> str:
    """A small file's text, with Python's line ends wherever it was written.

    Raises DataFileError if it is no text in UTF-8.
    """
    refuse(content, name)
    try:
        found = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataFileError(
            name, f"is no text in UTF-8 (byte {error.start}): name another file, or convert it"
        ) from error
    return found.replace("\r\n", "\n").replace("\r", "\n")
