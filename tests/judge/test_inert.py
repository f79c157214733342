"""The control tokens under the former name of their module: see `tests.test_inert`."""

from tests.test_inert import CONTROL

__all__ = ["CONTROL"]
