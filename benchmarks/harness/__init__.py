"""What the benchmarks share: patients, a clock, a table, and a plain reader to compare with."""
