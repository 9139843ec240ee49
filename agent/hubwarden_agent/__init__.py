"""The Hubwarden agent: the only component of a deployment that holds the Docker socket."""
