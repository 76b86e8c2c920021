mod bitset;
pub mod rng;
pub mod slab;
pub mod stats;
