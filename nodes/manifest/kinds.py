"""What kind of file a name tells of."""

from collections.abc import Mapping
from pathlib import PurePosixPath

_SUFFIXES = {
    "python": ".py .pyi .pyx",
    "javascript": ".js .mjs .cjs .jsx",
    "typescript": ".ts .tsx",
    "code": ".c .h .cc .cpp .hpp .rs .go .java .kt .rb .php .swift .sh .bash .sql .lua .r",
    "notebook": ".ipynb",
    "document": ".md .rst .txt .pdf .docx .odt .html .htm .tex",
    "data": ".json .jsonl .csv .tsv .xml .parquet .db .sqlite",
    "config": ".toml .yaml .yml .ini .cfg .conf .properties",
    "style": ".css .scss .less",
    "image": ".png .jpg .jpeg .gif .svg .webp .ico .bmp .tiff",
    "media": ".mp3 .mp4 .wav .ogg .webm .mov .flac",
    "archive": ".zip .tar .gz .bz2 .xz .7z .whl .jar",
}
_KINDS: Mapping[str, str] = {
    suffix: kind for kind, suffixes in _SUFFIXES.items() for suffix in suffixes.split()
}


def file_kind(name: str, head: bytes) -> str:
    """Name the kind of a file by its name, else by its first bytes: `text` or `binary`."""
    known = _KINDS.get(PurePosixPath(name).suffix.lower())
    return known or ("binary" if b"\0" in head else "text")
