"""The parts of the panel Explain: asking, the shown map, its check, attention, comparison."""
