mod bitset;
pub mod buf;
pub mod clock;
pub mod driver;
pub mod os;
pub mod rng;
pub mod slab;
pub mod stats;
pub mod timer;
