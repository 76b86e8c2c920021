//! The configuration everybody agrees on, and the TOML file that fills it.
//!
//! [`model`] is what the rest of the program sees. [`mod@file`] turns TOML text, environment variables and flags into
//! it, or into a [`Report`](diagnostic::Report) of everything that is wrong at once.
#![forbid(unsafe_code)]

mod address;
pub mod cores;
pub mod diagnostic;
pub mod effective;
pub mod embedded;
pub mod env;
pub mod file;
mod http_names;
pub mod http_path;
pub mod keys;
pub mod model;
mod names;
mod network;
pub mod pattern;
mod prose;
pub mod provenance;
pub mod reference;
pub mod schema;
mod suggest;
pub mod template;
pub mod units;
