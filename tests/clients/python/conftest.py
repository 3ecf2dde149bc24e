"""What the tests of the client need of the service's own."""

from tests.service.conftest import redis, run, service

__all__ = ["redis", "run", "service"]
