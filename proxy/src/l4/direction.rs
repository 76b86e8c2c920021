//! One direction of a connection: where its stream stands, and the rung that moves it.
//!
//! ```text
//!   Open ── end of source, all sent ──► FIN passed on: Ended
//!    └── sink refuses bytes ──► Broken or Lost (its own last bytes still come the other way)
//! ```

use super::{
    ladder::{Advice, LadderSettings, Observer},
    rung::{Copy, Leaving, Left, Splice, Step},
    tally::Tally,
};
use crate::report::RungKind;
use balance_engine::{driver::Errno, net::Socket};
use std::task::Context;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    #[default]
    Open,
    /// The source has closed, and the sink has been told.
    Ended,
    /// The sink takes no more. Nothing is read from the source any longer.
    Broken,
    /// As broken, by a reset that the send was told of. A socket tells only once: what reads like an end of its own
    /// stream after that is none.
    Lost,
}

/// The rungs that need more memory than copying does are boxed: an idle connection has neither.
enum Rung {
    Copy(Copy),
    Leaving(Box<Leaving>),
    Splice(Box<Splice>),
}

impl Default for Rung {
    fn default() -> Self {
        Self::Copy(Copy::default())
    }
}

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Direction {
    pub(super) phase: Phase,
    rung: Rung,
    observer: Observer,
    /// The source has ended, unless the send to it that is under way turns out to have been told of a reset.
    ended: bool,
}

/// What a step of a direction means for its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Moved { sent: u32 },
    Waiting,
    SourceReset,
}

impl Direction {
    pub(super) fn step(
        &mut self,
        source: &mut Socket,
        sink: &mut Socket,
        opposite: Phase,
        settings: &LadderSettings,
        tally: &mut Tally,
        context: &mut Context<'_>,
    ) -> Progress {
        // A send that was begun must be collected even when nothing more is read.
        if self.phase != Phase::Open && !sink.is_sending() {
            return Progress::Waiting;
        }
        let rung = self.rung();
        let step = match &mut self.rung {
            Rung::Copy(_) => self.copy(source, sink, settings, context),
            Rung::Leaving(_) => self.leave(source, sink, tally, context),
            Rung::Splice(_) => self.splice(source, sink, settings, tally, context),
        };
        match step {
            Step::Moved { sent } => {
                tally.sent(rung, sent);
                Progress::Moved { sent }
            }
            Step::Waiting => Progress::Waiting,
            Step::SourceReset => Progress::SourceReset,
            Step::SourceEnded if opposite == Phase::Lost => Progress::SourceReset,
            Step::SourceEnded if source.is_sending() && !std::mem::replace(&mut self.ended, true) => {
                // The opposite direction's step comes next and collects that send if it is done.
                Progress::Moved { sent: 0 }
            }
            Step::SourceEnded => {
                self.phase = Phase::Ended;
                self.rung = Rung::default();
                sink.shutdown();
                Progress::Moved { sent: 0 }
            }
            Step::SinkBroken(errno) => {
                // After a FIN of the sink, a reset is told as EPIPE, and the FIN holds.
                self.phase = if errno == Errno::BROKEN_PIPE { Phase::Broken } else { Phase::Lost };
                self.rung = Rung::default();
                Progress::Moved { sent: 0 }
            }
        }
    }

    fn copy(
        &mut self,
        source: &mut Socket,
        sink: &mut Socket,
        settings: &LadderSettings,
        context: &mut Context<'_>,
    ) -> Step {
        let Rung::Copy(copy) = &mut self.rung else { return Step::Waiting };
        let mut received = 0;
        let step = copy.step(source, sink, &mut received, context);
        if received > 0 {
            if self.observer.copied(received, settings) == Advice::Change(RungKind::Splice) {
                self.rung = Rung::Leaving(Box::new(Leaving::new(std::mem::take(copy), source)));
            }
        } else if step == Step::Waiting && !sink.is_sending() {
            self.observer.dried_up();
        }
        step
    }

    fn leave(&mut self, source: &mut Socket, sink: &mut Socket, tally: &mut Tally, context: &mut Context<'_>) -> Step {
        let Rung::Leaving(leaving) = &mut self.rung else { return Step::Waiting };
        match leaving.step(source, sink, context) {
            Left::Not(step) => step,
            Left::Ready => {
                self.rung = Rung::Splice(Box::new(Splice::new(source)));
                tally.entered(RungKind::Splice);
                Step::Moved { sent: 0 }
            }
            Left::Refused => {
                tally.refused(RungKind::Splice);
                self.back_to_copy(source);
                Step::Moved { sent: 0 }
            }
        }
    }

    fn splice(
        &mut self,
        source: &mut Socket,
        sink: &mut Socket,
        settings: &LadderSettings,
        tally: &mut Tally,
        context: &mut Context<'_>,
    ) -> Step {
        let Rung::Splice(splice) = &mut self.rung else { return Step::Waiting };
        let mut read = None;
        let step = splice.step(source, sink, &mut read, context);
        let advice = read.map_or(Advice::Stay, |bytes| self.observer.spliced(bytes, settings));
        if splice.is_empty() && (splice.refused || advice == Advice::Change(RungKind::Copy)) {
            if splice.refused {
                tally.refused(RungKind::Splice);
            } else {
                tally.entered(RungKind::Copy);
            }
            self.back_to_copy(source);
            return Step::Moved { sent: sent(step) };
        }
        step
    }

    fn back_to_copy(&mut self, source: &mut Socket) {
        self.observer.refused();
        self.rung = Rung::default();
        source.resume_recv();
    }

    pub(super) fn rung(&self) -> RungKind {
        match self.rung {
            Rung::Copy(_) | Rung::Leaving(_) => RungKind::Copy,
            Rung::Splice(_) => RungKind::Splice,
        }
    }
}

fn sent(step: Step) -> u32 {
    match step {
        Step::Moved { sent } => sent,
        _ => 0,
    }
}
