"""What single operations cost on this machine, measured with the parts of the executor that a run is made of.

A probe is one kind of operation, measured in several cases. Nothing here knows of scenarios or of what the figures are
used for; `spdsim.evidence.probes` reads what is written.
"""
