"""The lab: a matrix split among classes of nodes, handed to an engine in jobs, and collected."""
