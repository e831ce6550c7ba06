"""Many plans of a patient that differ in what was asked for: training data for dose models."""
