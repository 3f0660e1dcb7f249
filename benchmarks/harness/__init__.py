"""The parts of the benchmark's runner: who competes, what is measured, what is written."""
