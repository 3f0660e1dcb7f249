"""What several suites share: servers, workers, waiting, the simulation and its invariants."""
