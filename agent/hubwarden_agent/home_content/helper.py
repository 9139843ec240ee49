"""The program of a helper container that reads a home: it runs tar, and compresses what that writes on its way out.

Invariants: it ends with 0 only if tar did and every byte of tar's was compressed and handed on, and then its last
line on standard error says how many became how many. Compressed here, a home costs the engine's stream a fraction of
its bytes. The command line is `volume_content`'s, which is fixed.
Must not: use a shell or a file of its own, or import the agent. It starts anew for every backup.
"""

from __future__ import annotations

import sys

CHUNK_BYTES = 256 * 1024
LEVEL = 3
THREADS = 2
"""That compress, while another reads and writes."""
JOB_BYTES = 1024**2
"""What each of them is given at a time. With the library's own choice the program takes 71 MiB; with this, 24."""
OVER_LIMIT = 64
"""The exit status for a tar that is longer than it may be; tar itself ends with 0, 1 or 2."""


def main(limit: int, command: list[str]) -> int:
    """Run `command`, which writes at most `limit` bytes. Returns the exit status."""
    # Not at the top: the agent itself needs the number above, and none of these.
    import subprocess  # noqa: PLC0415 - only the helper needs it
    from contextlib import suppress  # noqa: PLC0415 - only the helper needs it
    from fcntl import F_SETPIPE_SZ, fcntl  # noqa: PLC0415 - only the helper needs it

    import zstandard  # noqa: PLC0415 - only the helper needs it

    parameters = zstandard.ZstdCompressionParameters.from_level(
        LEVEL, write_checksum=True, threads=THREADS, job_size=JOB_BYTES
    )
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    output = sys.stdout.buffer
    taken = given = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as tar:  # noqa: S603 - the one of `volume_content`
        if tar.stdout is None:
            raise AssertionError("there is a pipe")
        with suppress(OSError):  # faster, but the kernel refuses it where root's pipes are very many; see pipe(7)
            fcntl(tar.stdout, F_SETPIPE_SZ, CHUNK_BYTES)
        while chunk := tar.stdout.read(CHUNK_BYTES):
            taken += len(chunk)
            if taken > limit:
                tar.kill()
                return OVER_LIMIT
            given += output.write(compressor.compress(chunk))
    given += output.write(compressor.flush())
    output.flush()
    sys.stderr.write(f"Compressed: {taken} bytes to {given}\n")
    return tar.returncode if tar.returncode >= 0 else 128 - tar.returncode


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
