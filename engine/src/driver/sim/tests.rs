use super::*;
use crate::driver::contract::{Setup, contract_tests};
use std::time::Duration;

mod kind {
    use super::*;

    const SETUP: Setup = Setup {
        make: |pool, seed| Box::new(SimDriver::new(pool, seed, Faults::NONE)),
        seeds: 0..20,
        bulk: 200_000,
        scarce_bytes: 256 << 10,
        settled: Duration::from_secs(5),
    };

    contract_tests!(SETUP, without_unix_sockets);
}

mod unkind {
    use super::*;

    const SETUP: Setup = Setup {
        make: |pool, seed| Box::new(SimDriver::new(pool, seed, Faults::HARMLESS)),
        seeds: 100..120,
        bulk: 100_000,
        scarce_bytes: 256 << 10,
        settled: Duration::from_secs(5),
    };

    contract_tests!(SETUP, without_unix_sockets);
}

/// Where connections fail too, what is left of the contract are its rules.
#[test]
fn harsh_days_break_no_rules() {
    let setup = Setup {
        make: |pool, seed| Box::new(SimDriver::new(pool, seed, Faults::HARSH)),
        seeds: 200..230,
        bulk: 0,
        scarce_bytes: 0,
        settled: Duration::ZERO,
    };
    crate::driver::contract::nothing_breaks_the_rules(&setup);
}
