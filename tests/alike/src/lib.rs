//! Nothing: only its dependencies count.
//!
//! Cargo compiles a dependency once for each set of features, and the set is what everybody who is
//! built together asks for. A plugin that `haptic-host new` makes is tested with the harness of a
//! checkout, but is no member of its workspace: by itself it would ask for less, and compile
//! wasmtime and a hundred others again. With this beside the harness it asks for the same.
//! `host/tests/new` holds it to that.
