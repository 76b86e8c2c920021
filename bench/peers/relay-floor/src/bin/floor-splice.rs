#![forbid(unsafe_code)]

use common::Args;
use relay_floor::{Way, run};

fn main() -> std::io::Result<()> {
    run(Args::get("floor-splice", 1 << 20), Way::Splice)
}
