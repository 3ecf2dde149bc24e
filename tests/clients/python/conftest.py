"""What the tests of the client need of the service's own."""

from tests.service.conftest import run, service

__all__ = ["run", "service"]
