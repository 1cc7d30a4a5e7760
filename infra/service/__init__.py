"""The HTTP service: an API for systems that hand requests in, and pages for officers. No value ever comes out of it."""

from infra.service.app import new_app

__all__ = ["new_app"]
