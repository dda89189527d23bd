"""Drops a file from the page cache, and measures how much of it is left there. Linux only."""

import ctypes
import mmap
import os
from pathlib import Path


def drop_pages(path: Path) -> float | None:
    """Drops a file from the page cache; returns the share that stayed, or None if unsupported."""
    if not hasattr(os, "posix_fadvise"):
        return None
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        return resident_share(descriptor, os.fstat(descriptor).st_size)
    except (AttributeError, OSError):
        return None
    finally:
        os.close(descriptor)


def resident_share(descriptor: int, size: int) -> float:
    """The share of an open file that is in the page cache, from 0 to 1, found with mincore."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
    address = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0)
    if address in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), "mmap")
    pages = -(-size // mmap.PAGESIZE)
    present = (ctypes.c_ubyte * pages)()
    try:
        libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
        if libc.mincore(address, size, present):
            raise OSError(ctypes.get_errno(), "mincore")
    finally:
        libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
        libc.munmap(address, size)
    return sum(byte & 1 for byte in bytes(present)) / pages
