"""From published evidence to a profile of mechanisms: what is read off, what is fitted, and how well it is known."""

from spdsim.fitting.backing import backed, figure_std
from spdsim.fitting.check import ProfiledCycle, profiled_cycles
from spdsim.fitting.fit import Fit, Parameter, fit_profile
from spdsim.fitting.leave_out import LeftOut, leave_one_out
from spdsim.fitting.profile_text import profile_text
from spdsim.fitting.rivals import RivalFigure, fit_rivals, with_rivals

__all__ = [
    "Fit", "LeftOut", "Parameter", "ProfiledCycle", "RivalFigure", "backed", "figure_std", "fit_profile", "fit_rivals",
    "leave_one_out", "profile_text", "profiled_cycles", "with_rivals",
]  # fmt: skip
