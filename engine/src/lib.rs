mod bitset;
pub mod buf;
pub mod clock;
pub mod rng;
pub mod slab;
pub mod stats;
pub mod timer;
