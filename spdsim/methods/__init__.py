"""The methods to decode one sequence on the devices of a scenario: machines that the engine runs, and their laws.

A method has a key, a title, a machine with its schedule and an acceptance; or a reason why it cannot be had here.
Knows nothing of how it is compared or printed.
"""

from spdsim.methods.catalogue import METHODS, method_named, methods_of
from spdsim.methods.method import Method, Missing

__all__ = ["METHODS", "Method", "Missing", "method_named", "methods_of"]
