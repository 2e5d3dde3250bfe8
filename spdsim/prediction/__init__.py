"""From a profile to the wall speedup of a published run: the engine's cycles, put together by the law."""

from spdsim.prediction.case import Case, layer_s, scenario_of
from spdsim.prediction.cycles import Cycles, cycles_of
from spdsim.prediction.interval import Prediction
from spdsim.prediction.predictor import Predictor, case_of
from spdsim.prediction.rivals import RivalPredictor
from spdsim.prediction.speedup import wall_speedup

__all__ = [
    "Case", "Cycles", "Prediction", "Predictor", "RivalPredictor", "case_of", "cycles_of", "layer_s", "scenario_of",
    "wall_speedup",
]  # fmt: skip
