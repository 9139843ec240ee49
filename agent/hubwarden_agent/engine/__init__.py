"""The container engine: `port` says what is asked of it, `docker_engine` asks Docker."""
