"""The simulator: a schedule, a machine and verdicts in, a trace out. The only package that knows SimPy."""

from spdsim.engine.interpreter import Engine, Request, decode_all

__all__ = ["Engine", "Request", "decode_all"]
