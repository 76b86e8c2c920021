#![forbid(unsafe_code)]

use common::Args;
use relay_floor::{Way, run};

fn main() -> std::io::Result<()> {
    run(Args::get("floor-copy", 16 << 10), Way::Copy)
}
