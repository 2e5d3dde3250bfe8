"""From a trace to the figures of a report, whoever wrote the trace. Knows nothing of scenarios or rendering."""
