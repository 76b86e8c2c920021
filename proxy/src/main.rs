#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    balance_proxy::cli::main()
}
