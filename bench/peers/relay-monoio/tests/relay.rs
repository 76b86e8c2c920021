#[test]
fn bytes_and_ends_pass_both_ways() {
    common::check(env!("CARGO_BIN_EXE_relay-monoio"));
}
