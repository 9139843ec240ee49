"""A request's query, understood completely or refused. Nothing here knows what the values are for."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tornado.web import RequestHandler

from hubwarden_hub.errors import AgentError, Reason


def values_of(handler: RequestHandler, allowed: Mapping[str, re.Pattern[str]]) -> dict[str, str]:
    """The query's values, each of them once; JupyterHub's `_xsrf` is left out.

    Args:
        handler: whose request it is.
        allowed: what each parameter's value looks like.

    Raises:
        AgentError: `INVALID_REQUEST`, anything else is in it.
    """
    query = {}
    # Not tornado's get_query_arguments, which turns control characters into spaces.
    for name, values in handler.request.query_arguments.items():
        if name == "_xsrf":
            continue
        value = values[0].decode(errors="replace")
        # What cannot be decoded has a replacement character now, and one that was sent is refused with it.
        if len(values) != 1 or name not in allowed or "\ufffd" in value or not allowed[name].fullmatch(value):
            raise AgentError(Reason.INVALID_REQUEST)
        query[name] = value
    return query
