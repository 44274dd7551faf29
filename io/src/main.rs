//! The `tandem` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    tandem_io::cli::run()
}
