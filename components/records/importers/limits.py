"""How large a file of others may be: bounds that honest data do not come near, so that a bomb is a named error."""

from __future__ import annotations

from dataclasses import dataclass

from components.contract.ranges import Count
from components.errors import DataError


@dataclass(frozen=True)
class Limits:
    """Bounds of what is read from one file; more is refused, never cut."""

    line_mib: Count = 64
    """longest line (or Parquet row) in MiB"""
    file_gib: Count = 64
    """largest file in GiB, unpacked"""
    expansion: Count = 200
    """how many times its packed size a file may have (from 64 MiB on)"""
    columns: Count = 1000
    """most columns of a Parquet file"""

    @property
    def line_bytes(self) -> int:
        return self.line_mib << 20

    def check_size(self, name: str, read: int, packed: int) -> None:
        """Raise DataError if `read` bytes of a file, `packed` bytes on disk, are more than is allowed."""
        if read > self.file_gib << 30:
            raise too_large(name, f"is larger than {self.file_gib} GiB unpacked", "file_gib")
        if read > 64 << 20 and read > self.expansion * packed:
            what = f"grows to more than {self.expansion} times its size on disk when unpacked ({packed} bytes)"
            raise too_large(name, what, "expansion")


DEFAULT = Limits()


def too_large(name: str, what: str, limit: str) -> DataError:
    return DataError(f"{name}: {what}. If the file is sound, raise human_feedback.limits.{limit}; else do not use it.")
