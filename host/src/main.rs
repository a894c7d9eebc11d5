//! The `haptic-host` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    haptic_host::cli::main()
}
