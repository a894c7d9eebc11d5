//! What must hold of the parsers of `haptic_core`, whatever they are fed: one function
//! for each fuzz target. The test `regressions` of `haptic-core` includes this file.

pub mod decode;
pub mod frames;
pub mod paths;
mod repeats;
mod values;
