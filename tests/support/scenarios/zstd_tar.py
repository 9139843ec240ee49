"""Tars as a helper hands them on: one frame of zstd, with a checksum; and what is in them again."""

from __future__ import annotations

import io

import zstandard


def compressed(content: bytes) -> bytes:
    """The content in one frame."""
    return zstandard.ZstdCompressor(write_checksum=True).compress(content)


def decompressed(frame: bytes) -> bytes:
    """All that is in a frame, whether or not it says how much that is."""
    with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(frame)) as content:
        return content.read()
