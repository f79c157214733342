"""The text guard under its former name: see `analyze.inert`."""

from analyze.inert import inert, restore

__all__ = ["inert", "restore"]
