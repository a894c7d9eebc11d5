//! What the benchmarks share: the objects, an API server that costs next to nothing, what a process
//! has used, and the table.

pub mod api;
pub mod data;
pub mod process;
pub mod report;
