"""The reference executor: the schedule of `spdsim.schedules` run on real devices, losslessly.

Needs torch; `spdsim` never imports it.
"""
