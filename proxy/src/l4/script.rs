//! Changes of rung that a test asks for, at moments that no ladder would choose.

use crate::report::RungKind;
use balance_engine::rng::splitmix64;

/// What every direction of a listener does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// Before one in so many steps, to any other rung.
    AtRandom { seed: u64, one_in: u32 },
    /// From one to the other and back, each time after so many steps.
    Between { rungs: [RungKind; 2], steps: u32 },
}

/// Changes in a row between which nothing is sent, at most: without a limit, connections that only wait would change
/// for ever.
const CREDIT: u8 = 3;

/// Where one direction is in its script.
#[derive(Default)]
pub(super) struct Follower {
    /// Of the choices: they depend on what was sent, so no two directions make the same.
    state: u64,
    /// On this rung.
    steps: u32,
    credit: u8,
}

impl Follower {
    /// As in the product, nothing is changed before there are bytes.
    pub(super) fn moved(&mut self, sent: u32) {
        if sent > 0 {
            self.state ^= u64::from(sent);
            self.credit = CREDIT;
        }
    }

    /// Before a step on this rung: the one to change to.
    pub(super) fn next(&mut self, on: RungKind, script: Script) -> Option<RungKind> {
        self.steps += 1;
        if self.credit == 0 {
            return None;
        }
        let to = match script {
            Script::AtRandom { seed, one_in } => self.draw(seed, one_in).filter(|to| *to != on),
            Script::Between { rungs, .. } if !rungs.contains(&on) => Some(rungs[0]),
            Script::Between { rungs: [first, second], steps } => {
                (self.steps >= steps).then_some(if on == first { second } else { first })
            }
        };
        if to.is_some() {
            self.credit -= 1;
            self.steps = 0;
        }
        to
    }

    fn draw(&mut self, seed: u64, one_in: u32) -> Option<RungKind> {
        self.state ^= seed;
        let drawn = splitmix64(&mut self.state);
        let kind = (drawn >> 32) as usize % RungKind::ALL.len();
        (drawn as u32).is_multiple_of(one_in).then_some(RungKind::ALL[kind])
    }
}
