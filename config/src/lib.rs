//! The configuration everybody agrees on, and the TOML file that fills it.
#![forbid(unsafe_code)]

pub mod model;
