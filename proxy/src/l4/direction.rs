//! One direction of a connection: where its stream stands, and the rung that moves it.
//!
//! ```text
//!   Open ── end of source, all sent ──► FIN passed on: Ended
//!    └── sink refuses bytes ──► Broken or Lost (its own last bytes still come the other way)
//! ```

use super::{
    ladder::{Advice, LadderSettings, Observer},
    rung::{Copy, Gather, Leaving, Left, Splice, Step, UringSplice, ZeroCopy, ZeroCopyReports},
    tally::Tally,
};
use crate::report::RungKind;
use balance_engine::{driver::Errno, net::Socket};
use std::{sync::Once, task::Context};

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

/// The rungs that need more memory than copying does are boxed: an idle connection has none of them.
enum Rung {
    Copy(Copy),
    /// From copy to another, which must begin where copying has stopped.
    Leaving(Box<Leaving>),
    Gather(Box<Gather>, RungKind),
    Splice(Box<Splice>),
    UringSplice(Box<UringSplice>),
}

impl Default for Rung {
    fn default() -> Self {
        Self::Copy(Copy::default())
    }
}

impl Rung {
    /// Nothing is on its way that would be lost, or that a change would not wait for.
    fn can_be_left(&self) -> bool {
        match self {
            Self::Copy(_) => true,
            Self::Leaving(_) => false,
            Self::Gather(gather, _) => gather.is_empty(),
            Self::Splice(splice) => splice.is_empty(),
            Self::UringSplice(splice) => splice.is_empty(),
        }
    }

    /// A write to the sink is under way of which the sink itself does not know.
    fn is_writing(&self) -> bool {
        match self {
            Self::Gather(gather, _) => gather.is_sending(),
            Self::UringSplice(splice) => splice.is_emptying(),
            Self::Copy(_) | Self::Leaving(_) | Self::Splice(_) => false,
        }
    }

    /// The last write may have taken a reset off the sink and not told of it. Its end, or that of the next one, which
    /// is tried at once, will tell.
    fn is_in_doubt(&self) -> bool {
        match self {
            Self::Splice(splice) => splice.is_in_doubt(),
            Self::UringSplice(splice) => splice.is_in_doubt(),
            Self::Copy(_) | Self::Leaving(_) | Self::Gather(..) => false,
        }
    }
}

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Direction {
    pub(super) phase: Phase,
    rung: Rung,
    observer: Observer,
    /// Where to go as soon as nothing is on its way on this rung.
    wanted: Option<RungKind>,
    /// The source has ended, unless the send to it that is under way turns out to have been told of a reset.
    ended: bool,
    /// On copy: buffers are sent together, several at once.
    gathers: bool,
    #[cfg(test)]
    follower: super::script::Follower,
}

/// What a step of a direction means for its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Moved,
    Waiting,
    SourceReset,
}

/// Where a direction stands, as far as the other one must know.
#[derive(Clone, Copy)]
pub(super) struct Standing {
    phase: Phase,
    /// Its rung has a write to its sink under way.
    is_writing: bool,
    /// Whether its sink was reset is not known, until that rung's write ends or its next one does.
    is_in_doubt: bool,
}

/// A direction's two ends, and what a step may need.
pub(super) struct Ends<'a, 'c> {
    pub(super) source: &'a mut Socket,
    pub(super) sink: &'a mut Socket,
    pub(super) opposite: Standing,
    pub(super) settings: &'a LadderSettings,
    pub(super) tally: &'a mut Tally,
    pub(super) context: &'a mut Context<'c>,
}

impl Ends<'_, '_> {
    /// The opposite direction is writing to our source.
    fn is_source_written(&self) -> bool {
        self.source.is_sending() || self.opposite.is_writing
    }
}

impl Direction {
    pub(super) fn step(&mut self, mut ends: Ends<'_, '_>) -> Progress {
        // A send that was begun must be collected even when nothing more is read.
        if self.phase != Phase::Open && !ends.sink.is_sending() {
            return Progress::Waiting;
        }
        #[cfg(test)]
        self.follow_script(ends.settings);
        if let Some(to) = self.wanted.take_if(|_| self.rung.can_be_left()) {
            self.leave_for(to, &mut ends);
            return Progress::Moved;
        }
        self.gather_or_not(&ends);
        let rung = self.rung();
        let step = match &mut self.rung {
            Rung::Copy(_) => self.copy(&mut ends),
            Rung::Leaving(_) => self.leave(&mut ends),
            Rung::Gather(..) => self.gather(&mut ends),
            Rung::Splice(_) => self.splice(&mut ends),
            Rung::UringSplice(_) => self.uring_splice(&mut ends),
        };
        match step {
            Step::Moved { sent } => {
                #[cfg(test)]
                self.follower.moved(sent);
                ends.tally.sent(rung, sent);
                Progress::Moved
            }
            Step::Waiting if self.wanted.is_some() && self.rung.can_be_left() => Progress::Moved,
            Step::Waiting => Progress::Waiting,
            Step::SourceReset => Progress::SourceReset,
            Step::SourceEnded if ends.opposite.phase == Phase::Lost => Progress::SourceReset,
            // The opposite direction's step ends the doubt, and wakes us.
            Step::SourceEnded if ends.opposite.is_in_doubt => Progress::Waiting,
            Step::SourceEnded if ends.is_source_written() && !std::mem::replace(&mut self.ended, true) => {
                // The opposite direction's step comes next and collects that write if it is done.
                Progress::Moved
            }
            Step::SourceEnded => {
                self.close(Phase::Ended);
                ends.sink.shutdown();
                Progress::Moved
            }
            Step::SinkBroken(errno) => {
                // After a FIN of the sink, a reset is told as EPIPE, and the FIN holds.
                self.close(if errno == Errno::BROKEN_PIPE { Phase::Broken } else { Phase::Lost });
                Progress::Moved
            }
        }
    }

    fn close(&mut self, phase: Phase) {
        self.phase = phase;
        self.gathers = false;
        self.rung = Rung::default();
        self.wanted = None;
    }

    fn copy(&mut self, ends: &mut Ends<'_, '_>) -> Step {
        let Rung::Copy(copy) = &mut self.rung else { return Step::Waiting };
        let mut received = 0;
        let step = copy.step(ends.source, ends.sink, &mut received, ends.context);
        if received > 0 {
            let advice = self.observer.copied(received, ends.settings);
            self.heed(advice);
        } else if step == Step::Waiting && !ends.sink.is_sending() {
            self.observer.dried_up();
        }
        step
    }

    fn leave(&mut self, ends: &mut Ends<'_, '_>) -> Step {
        let Rung::Leaving(leaving) = &mut self.rung else { return Step::Waiting };
        let (from, to) = (leaving.from(), leaving.to());
        match leaving.step(ends.source, ends.sink, ends.context) {
            Left::Not(step) => return step,
            Left::Ready => {
                self.rung = enter(to, ends);
                self.observer.start_over();
                ends.tally.changed(from, to);
            }
            Left::Refused => self.give_up(to, ends),
        }
        Step::Moved { sent: 0 }
    }

    fn gather(&mut self, ends: &mut Ends<'_, '_>) -> Step {
        let Rung::Gather(gather, kind) = &mut self.rung else { return Step::Waiting };
        let mut reports = ZeroCopyReports::default();
        if self.wanted.is_some() {
            gather.read_no_more();
        }
        let mut read = None;
        let step = gather.step(ends.source, ends.sink, &mut read, &mut reports, ends.context);
        ends.tally.zero_copy(*kind, reports);
        if reports.switched_off {
            tracing::info!("send-zc: the kernel copies after all; this direction goes on without zero copy");
        }
        self.observe_bulk(read, ends);
        step
    }

    fn splice(&mut self, ends: &mut Ends<'_, '_>) -> Step {
        let Rung::Splice(splice) = &mut self.rung else { return Step::Waiting };
        let mut read = None;
        let step = splice.step(ends.source, ends.sink, &mut read, ends.context);
        if splice.refused {
            self.give_up(RungKind::Splice, ends);
            return Step::Moved { sent: 0 };
        }
        self.observe_bulk(read, ends);
        step
    }

    fn uring_splice(&mut self, ends: &mut Ends<'_, '_>) -> Step {
        let Rung::UringSplice(splice) = &mut self.rung else { return Step::Waiting };
        let step = splice.step(ends.source, ends.sink, ends.context);
        if splice.refused {
            self.give_up(RungKind::UringSplice, ends);
            return Step::Moved { sent: 0 };
        }
        step
    }

    fn observe_bulk(&mut self, read: Option<u32>, ends: &Ends<'_, '_>) {
        if let Some(bytes) = read {
            let advice = self.observer.bulk_read(bytes, ends.settings);
            self.heed(advice);
        }
    }

    fn heed(&mut self, advice: Advice) {
        match advice {
            Advice::Stay => {}
            Advice::Change(to) => self.wanted = Some(to),
            Advice::Together | Advice::Alone => {
                self.observer.start_over();
                self.gathers = advice == Advice::Together;
            }
        }
    }

    /// Nothing of the receive changes with that, so this needs no [`Leaving`].
    fn gather_or_not(&mut self, ends: &Ends<'_, '_>) {
        match &self.rung {
            Rung::Copy(_) if self.gathers && !ends.sink.is_sending() => {
                self.rung = Rung::Gather(Box::new(Gather::small()), RungKind::Copy);
            }
            Rung::Gather(gather, RungKind::Copy) if !self.gathers && gather.is_empty() => self.rung = Rung::default(),
            _ => {}
        }
    }

    #[cfg(test)]
    fn follow_script(&mut self, settings: &LadderSettings) {
        let is_free = self.phase == Phase::Open && self.wanted.is_none() && !matches!(self.rung, Rung::Leaving(_));
        if let super::Forward::Scripted(script) = settings.forward
            && is_free
        {
            self.wanted = self.follower.next(self.rung(), script);
        }
    }

    /// Every change leads through [`Leaving`], whichever rungs it is between. A copy may still have a buffer in flight.
    fn leave_for(&mut self, to: RungKind, ends: &mut Ends<'_, '_>) {
        let from = self.rung();
        let copy = match std::mem::take(&mut self.rung) {
            Rung::Copy(copy) => copy,
            Rung::Gather(..) => {
                self.gathers = false;
                ends.source.set_bulk_recv(false);
                Copy::default()
            }
            Rung::Leaving(_) | Rung::Splice(_) | Rung::UringSplice(_) => Copy::default(),
        };
        self.rung = Rung::Leaving(Box::new(Leaving::new(copy, from, to, ends.source)));
    }

    /// A rung could not be had, or not any longer; nothing of it is in flight. No connection fails for that.
    fn give_up(&mut self, rung: RungKind, ends: &mut Ends<'_, '_>) {
        self.rung = Rung::default();
        self.wanted = None;
        self.observer.refused();
        ends.tally.refused(rung);
        ends.source.resume_recv();
    }

    pub(super) fn standing(&self) -> Standing {
        Standing { phase: self.phase, is_writing: self.rung.is_writing(), is_in_doubt: self.rung.is_in_doubt() }
    }

    pub(super) fn rung(&self) -> RungKind {
        match &self.rung {
            Rung::Copy(_) | Rung::Leaving(_) => RungKind::Copy,
            Rung::Gather(_, kind) => *kind,
            Rung::Splice(_) => RungKind::Splice,
            Rung::UringSplice(_) => RungKind::UringSplice,
        }
    }
}

/// The receive of the source is paused and all that came has been sent.
fn enter(rung: RungKind, ends: &mut Ends<'_, '_>) -> Rung {
    match rung {
        RungKind::Copy => {
            ends.source.resume_recv();
            Rung::default()
        }
        RungKind::Bundle => Rung::Gather(Box::new(Gather::new(ends.source, ZeroCopy::Off)), rung),
        RungKind::SendZc => {
            if let Err(why) = ends.sink.expect_zero_copy() {
                tell_once(why);
            }
            let zero_copy = ZeroCopy::From { bytes: ends.settings.zc_min, copies: 0 };
            Rung::Gather(Box::new(Gather::new(ends.source, zero_copy)), rung)
        }
        RungKind::Splice => Rung::Splice(Box::new(Splice::new(ends.source))),
        RungKind::UringSplice => Rung::UringSplice(Box::new(UringSplice::new(ends.source))),
    }
}

/// It is the same for all connections, mostly, and `balance_buffers_registrations_refused` counts.
fn tell_once(why: Errno) {
    static TOLD: Once = Once::new();
    TOLD.call_once(|| tracing::warn!(%why, "send-zc: memory cannot be registered with io_uring; sends go without"));
}
