//! The program `waxwing`. Everything it does is in the library; see [`server::cli`].

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    server::cli::run()
}
