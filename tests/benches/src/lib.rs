//! What the benchmarks share: data, measurements, tables.
