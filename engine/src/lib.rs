mod bitset;
pub mod clock;
pub mod rng;
pub mod slab;
pub mod stats;
