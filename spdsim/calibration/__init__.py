"""From a machine to a profile: traces of an executor are read, fitted, and held against runs that the fit has not seen.

Needs no torch: the executor is another program, and its traces are what is read of it.
"""

from spdsim.calibration.document import calibration_document
from spdsim.calibration.fit import Calibration, Figure, fit_traces
from spdsim.calibration.observed import Observed, observe
from spdsim.calibration.predict import predict
from spdsim.calibration.proof import Cell, Proof, prove

__all__ = [
    "Calibration", "Cell", "Figure", "Observed", "Proof", "calibration_document", "fit_traces", "observe", "predict",
    "prove",
]  # fmt: skip
