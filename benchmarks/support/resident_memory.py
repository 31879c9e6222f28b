"""Reads the resident memory of a process on Linux."""

from pathlib import Path

MIB = 1 << 20


def resident_mib(pid: int) -> float:
    """Returns the resident memory of a process in MiB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    kib = next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1]
    return int(kib) * 1024 / MIB
