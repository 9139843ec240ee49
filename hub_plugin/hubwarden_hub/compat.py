"""What Python 3.10 lacks of the standard library, for JupyterHubs that run on it.

Invariants: the same behaviour on every supported Python. Goes when 3.10 is no longer supported.
Must not: hold anything else.
"""

import sys

if sys.version_info >= (3, 11):
    from asyncio import timeout
    from enum import StrEnum
else:
    import enum

    from async_timeout import timeout

    class StrEnum(str, enum.Enum):
        """As in Python 3.11: a member's text is its value."""

        __str__ = str.__str__


__all__ = ["StrEnum", "timeout"]
