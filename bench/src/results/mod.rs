//! Results as they are kept in files, and what follows from them. What prints or plots reads these, so that a saved
//! file shows what the run itself showed.

mod duel;
mod file;
mod run;
mod summary;

pub(crate) use duel::{Contest, Duel, Entrant, Missing, Round, Sample, Settings, Unit};
pub(crate) use file::{File, read_all, write};
pub(crate) use run::{Moment, Run};
pub(crate) use summary::{Figure, Spread, WAITED_MAX};

#[cfg(test)]
pub(crate) use {run::tests::value as run_value, summary::tests::duel as a_duel};
