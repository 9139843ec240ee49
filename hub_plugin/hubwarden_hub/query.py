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
    for name in handler.request.query_arguments:
        values = handler.get_query_arguments(name, strip=False)
        if name == "_xsrf":
            continue
        if len(values) != 1 or name not in allowed or not allowed[name].fullmatch(values[0]):
            raise AgentError(Reason.INVALID_REQUEST)
        query[name] = values[0]
    return query
