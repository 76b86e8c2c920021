//! The real data path in a simulated world: many seeds, everything checked, every failure replayed by its seed.
//!
//! Reading order: [`script`] (what a client and its backend do), [`talker`] (doing it), [`ledger`] (whether the bytes
//! are right), [`plan`] (what a seed says about a world), [`world`] (running one).
//!
//! ```sh
//! BALANCE_SIM_SEED=4711 cargo test -p balance-proxy simulation::one        # one world, as a failure prints it
//! BALANCE_SIM_TRACE=1 BALANCE_SIM_SEED=4711 cargo test …                      # … and every completion up to there
//! BALANCE_SIM_SEEDS=100000 cargo test -p balance-proxy simulation::random  # a long campaign
//! ```

mod changes;
mod ledger;
mod plan;
mod scenes;
mod script;
mod talker;
mod tests;
mod world;
