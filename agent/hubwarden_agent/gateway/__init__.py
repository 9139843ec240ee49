"""The spawn gateway: the part of Docker's API that an unmodified DockerSpawner uses, and nothing beside it.

Invariants: client bytes are never forwarded. A request is understood completely or refused, and what reaches the
engine is built anew from typed values that the operator's policy allows.
"""
