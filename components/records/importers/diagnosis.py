"""What a file is that is not JSON lines, told by its first bytes: the cause, and a command that mends it.

The messages name no folder: they stand in artifacts, which are the same wherever they were made. Nothing is guessed:
an encoding is named only where its marks are there, and the file is refused all the same.
"""

from __future__ import annotations

import re

from components.contract.json_text import parse_json
from components.errors import DataError

HEAD = 1 << 16

_MAGIC = (
    (b"PAR1", "is Parquet", "Name it .parquet."),
    (b"\x1f\x8b", "is gzip although its name does not end in .gz", "Name it .jsonl.gz."),
    (b"\x28\xb5\x2f\xfd", "is packed with zstd", "Unpack it: zstd -d FILE."),
    (b"BZh", "is packed with bzip2", "Unpack it: bunzip2 FILE."),
    (b"\xfd7zXZ", "is packed with xz", "Unpack it: unxz FILE."),
    (b"PK\x03\x04", "is a zip archive (Excel's .xlsx is one, too)", "Unpack it, or export the rows as JSON lines."),
    (b"SQLite format 3", "is an SQLite database", "Export the rows as JSON lines."),
    (b"ARROW1", "is an Arrow file", "Write it as Parquet: datasets.Dataset.from_file(FILE).to_parquet(NEW)."),
    (b"%PDF", "is a PDF document", "Export the rows as JSON lines."),
    (b"\x89PNG", "is a picture", "Export the rows as JSON lines."),
)
_ENCODINGS = (  # the four bytes of UTF-32 begin with the two of UTF-16
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_BOM = b"\xef\xbb\xbf"


def check_head(name: str, head: bytes) -> None:
    """Raise DataError if a file that begins with `head` (its first HEAD bytes, unpacked) is no file of JSON lines."""
    for magic, what, remedy in _MAGIC:
        if head.startswith(magic):
            raise _refuse(name, what, remedy)
    for mark, encoding in _ENCODINGS:
        if head.startswith(mark):
            raise _refuse(name, f"is {encoding.upper()}, not UTF-8", recode(name, encoding))
    if head.count(0) > len(head) // 100:
        raise _no_text(name, head)
    text = head.removeprefix(_BOM).lstrip()
    if not text and len(head) < HEAD:
        raise _refuse(name, f"is empty (got {len(head)} bytes, none of them a letter)", "Fetch or export it again.")
    if text.startswith(b"version https://git-lfs"):
        raise _refuse(name, "is a Git LFS pointer, not the file", "Fetch the file: git lfs pull.")
    if re.match(rb"(?i)<(!doctype|html|head|\?xml|error|\w+[ >])", text):
        raise _refuse(name, "is a page (HTML or XML), not data", "Download the file itself, not the page of it.")
    _check_lines(name, text, whole=len(head) < HEAD)


def _check_lines(name: str, text: bytes, whole: bool) -> None:
    first, *rest = [line.strip() for line in re.split(rb"\n", text[:HEAD]) if line.strip()] or [b""]
    if re.match(rb"\[\s*([{\]]|$)", first) and not (_parses(first) and rest):
        raise _refuse(name, "is one JSON array, not a row a line", _rows(name))
    if b"\r" in text.strip() and b"\n" not in text and (b"}\r{" in text or not _parses(first)):
        code = f"b=open({name!r},'rb').read(); open({_new(name)!r},'wb').write(b.replace(b'\\r',b'\\n'))"
        raise _refuse(name, "has the line ends of old Macs (CR alone)", _python(code))
    if _parses(first) or not (rest or whole):
        return
    if first.endswith(b",") and _parses(first[:-1]):
        code = f"open({_new(name)!r},'wb').writelines(l.strip().rstrip(b',')+b'\\n' for l in open({name!r},'rb'))"
        raise _refuse(name, "has a comma at the end of its lines", _python(code))
    if first in (b"{", b"[") or (first.startswith(b"{") and rest and re.match(rb'["}\]]', rest[0])):
        raise _refuse(name, "holds JSON values over several lines (pretty-printed), not a row a line", _values(name))
    if re.match(rb"\{\s*'", first):
        code = (
            f"import ast,json; open({_new(name)!r},'w',encoding='utf-8').writelines(json.dumps(ast.literal_eval(l))"
            f"+chr(10) for l in open({name!r},encoding='utf-8'))"
        )
        raise _refuse(name, "holds Python mappings (single quotes), not JSON", _python(code))
    if first[:1] not in b'{["' and rest:
        for mark, word in ((b"\t", "tabs"), (b";", "semicolons"), (b",", "commas")):
            if mark in first and mark in rest[0]:
                code = f"import pandas as p; p.read_csv({name!r},sep={mark.decode()!r}).to_json({_new(name)!r},"
                code += "orient='records',lines=True,force_ascii=False)"
                raise _refuse(name, f"is a table (CSV) with {word}, not JSON lines", _python(code))


def recode(name: str, encoding: str) -> str:
    """The command that writes a file anew as UTF-8."""
    return _python(
        f"t=open({name!r},encoding={encoding!r},newline='').read(); "
        f"open({_new(name)!r},'w',encoding='utf-8',newline='').write(t)"
    )


def _no_text(name: str, head: bytes) -> DataError:
    """UTF-16 without its mark has a zero in every other byte of what is written in Latin letters."""
    for start, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        if head[start::2].count(0) > 0.3 * len(head) and head[1 - start :: 2].count(0) == 0:
            return _refuse(name, "is UTF-16 without its mark, not UTF-8", recode(name, encoding))
    return _refuse(name, "is no text (it holds zero bytes)", "Export the rows as JSON lines, or fetch the file again.")


def _parses(line: bytes) -> bool:
    try:
        parse_json(line)
    except ValueError:
        return False
    return True


def _rows(name: str) -> str:
    return _python(
        f"import json; open({_new(name)!r},'w',encoding='utf-8').writelines(json.dumps(r)+chr(10) "
        f"for r in json.load(open({name!r},encoding='utf-8-sig')))"
    )


def _values(name: str) -> str:
    """The command that writes JSON values, one behind the other, a row a line."""
    code = (
        f"import json\nd=json.JSONDecoder()\nt=open({name!r},encoding='utf-8-sig').read().strip()\n"
        f"o=open({_new(name)!r},'w',encoding='utf-8')\n"
        "while t:\n v,n=d.raw_decode(t)\n o.write(json.dumps(v)+chr(10))\n t=t[n:].strip()\n"
    )
    return _python(f"exec({code!r})")


def _new(name: str) -> str:
    return f"{name.split('.')[0]}-mended.jsonl"


def _python(code: str) -> str:
    return f"Write it anew, in its folder: python -c {_double(code)}"


def _double(code: str) -> str:
    escaped = code.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$").replace("`", "\\`")
    return f'"{escaped}"'


def _refuse(name: str, what: str, remedy: str) -> DataError:
    return DataError(f"{name}: {what}. {remedy}")
