"""The Docker SDK's low-level client, fenced, and its failures as the port's errors.

Invariants:
- Nothing outside the agent's configuration has an influence: no environment variable, no proxy, no file or credential
  store of the Docker CLI, no redirect.
- Each answer is bounded in size, and each request has a timeout. An answer that a request does not stream is read whole
  before it is used.
- The agent chooses the API version. No request but the one for the version is sent without it.
- What Docker said stays in the text of the port's errors, which is for the log.

Must not: be imported outside this package.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
import urllib3
from docker import APIClient
from docker.errors import APIError, DockerException, StreamParseError
from docker.errors import NotFound as DockerNotFound

from hubwarden_agent.engine.port import Conflict, EngineError, EngineUnavailable, NotFound
from hubwarden_agent.errors import RequestRefused

OLDEST_API = (1, 42)
"""Docker 23. Before it, a volume's time of creation changes with its content, and volumes cannot be sized alone."""
NEWEST_API = (1, 45)
"""Docker 26.1's, which the tests run against. The agent speaks this version to a newer Docker."""
PING_SECONDS = 5
"""The question for the version is also the ping of the health check, which must notice a Docker that hangs."""
ANSWER_BYTES = 64 * 1024**2
"""An engine with 50,000 volumes lists them in a third of this."""
CHUNK_BYTES = 64 * 1024


class FencedClient(APIClient):
    """`docker.APIClient` on a unix socket.

    Args:
        socket: the socket's path.
        timeout: seconds for which Docker may be silent, unless a call sets its own.
        version: the API version.
    """

    def __init__(self, socket: str, timeout: int, version: tuple[int, int]) -> None:
        super().__init__(base_url=f"unix://{socket}", timeout=timeout, version="{}.{}".format(*version))
        self.trust_env = False  # of requests: no proxies and no netrc
        self.max_redirects = 0
        # The SDK pools connections by URL and a restarted dockerd invalidates them: one connection for each request.
        self.headers["Connection"] = "close"
        # The constructor reads the configuration file of the Docker CLI, which can name headers for each request, and
        # offers no way not to. (It can also name programs to run for credentials: see `image_pull`.)
        self._general_configs: dict[str, Any] = {}

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send a request, and bound its answer. Some of the SDK's methods ask for no timeout: they get the client's.

        Raises:
            EngineError: the answer is too long.
        """
        streamed = kwargs.pop("stream", False)
        kwargs["timeout"] = kwargs.get("timeout") or self.timeout
        response = super().send(request, stream=True, **kwargs)
        if not streamed or not response.ok:
            with response:
                response._content = _bounded(response)  # noqa: SLF001 - requests has no bounded read
        return response


def _bounded(response: requests.Response) -> bytes:
    content = bytearray()
    for chunk in response.iter_content(CHUNK_BYTES):
        content += chunk
        if len(content) > ANSWER_BYTES:
            raise EngineError("Docker's answer is too long")
    return bytes(content)


class DockerClients:
    """The two clients of one engine, made once the API version is known.

    Args:
        socket: the path of Docker's socket.
        timeout: seconds for a request that reads.
        change_timeout: seconds for a request that changes something, beyond a stop timeout. Docker completes a request
            whose client is gone, and deleting a large home takes long.
    """

    def __init__(self, socket: str, timeout: int, change_timeout: int) -> None:
        self._socket = socket
        self._timeout = timeout
        self._change_timeout = change_timeout
        self._negotiated: tuple[FencedClient, FencedClient] | None = None

    def negotiate(self) -> tuple[FencedClient, FencedClient]:
        """Ask Docker for its API versions, which also shows that it answers, and make the clients for the newest.

        Raises:
            EngineError: Docker has no version that the agent speaks.
            requests.RequestException: Docker does not answer.
        """
        with FencedClient(self._socket, min(self._timeout, PING_SECONDS), OLDEST_API) as unversioned:
            offered = unversioned.version(api_version=False)
        oldest, newest = _version(offered.get("MinAPIVersion", "1.24")), _version(offered["ApiVersion"])
        if newest < OLDEST_API or oldest > NEWEST_API:
            raise EngineError(
                f"Docker offers API {oldest} to {newest}; the agent needs {OLDEST_API} (Docker 23) to {NEWEST_API}"
            )
        chosen = min(newest, NEWEST_API)
        clients = self._negotiated
        if clients is None or clients[0].api_version != "{}.{}".format(*chosen):
            clients = (
                FencedClient(self._socket, self._timeout, chosen),
                FencedClient(self._socket, self._change_timeout, chosen),
            )
            self._negotiated = clients
        return clients

    @property
    def reading(self) -> FencedClient:
        """For requests that change nothing. Until Docker has answered once, each caller negotiates for itself."""
        return (self._negotiated or self.negotiate())[0]

    @property
    def changing(self) -> FencedClient:
        """For requests that change something."""
        return (self._negotiated or self.negotiate())[1]


def _version(text: str) -> tuple[int, int]:
    major, minor = text.split(".")
    return int(major), int(minor)


@contextmanager
def map_errors() -> Iterator[None]:
    """Turn what the SDK, requests and reading an answer raise into the port's errors.

    Raises:
        EngineUnavailable: no connection, or no whole answer in time.
        NotFound: Docker answers 404.
        Conflict: Docker answers 409.
        EngineError: anything else.
    """
    try:
        yield
    except APIError as error:
        raise _refused(error) from error
    except (requests.JSONDecodeError, requests.TooManyRedirects, requests.exceptions.InvalidSchema) as error:
        raise EngineError(f"Docker's answer cannot be read: {error!r}") from error
    except (OSError, urllib3.exceptions.HTTPError) as error:  # requests' exceptions are OSErrors
        raise EngineUnavailable(f"Docker does not answer: {error!r}") from error
    except (
        DockerException,
        StreamParseError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        RequestRefused,
    ) as error:
        raise EngineError(f"Docker's answer cannot be read: {error!r}") from error


def _refused(error: APIError) -> EngineError:
    if isinstance(error, DockerNotFound):
        return NotFound(str(error))
    kind = Conflict if error.status_code == requests.codes.conflict else EngineError
    return kind(str(error))
