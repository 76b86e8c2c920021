#[test]
fn bytes_and_ends_pass_both_ways() {
    common::check(env!("CARGO_BIN_EXE_floor-copy"));
    common::check(env!("CARGO_BIN_EXE_floor-splice"));
}
