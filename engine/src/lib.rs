pub mod rng;
pub mod stats;
