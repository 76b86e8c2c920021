//! The only place that reads the clock.
//!
//! Time is a number of nanoseconds since the process first asked for it, so that the timestamps of all shards compare.
//! A shard reads it once a turn and hands it on as an argument; the simulator turns the hands of a [`VirtualClock`].

use std::cell::Cell;
use std::ops::{Add, Sub};
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Nanoseconds of one tick of the timer wheel: a millisecond.
const TICK: u64 = 1_000_000;

/// A point in time, in nanoseconds since the start; it lasts for 584 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(u64);

impl Timestamp {
    pub const START: Self = Self(0);
    /// Later than anything that happens: a deadline that never comes.
    pub const NEVER: Self = Self(u64::MAX);

    #[inline]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    #[inline]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; zero when it is still to come.
    #[inline]
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The last tick that has begun: what a clock shows.
    #[inline]
    pub const fn tick_floor(self) -> u64 {
        self.0 / TICK
    }

    /// The first tick not before this point: where a deadline is filed, so that it never fires early.
    #[inline]
    pub const fn tick_ceil(self) -> u64 {
        self.0.div_ceil(TICK)
    }

    /// The beginning of a tick; [`Timestamp::NEVER`] for one past the end of time.
    #[inline]
    pub const fn from_tick(tick: u64) -> Self {
        Self(tick.saturating_mul(TICK))
    }
}

/// Saturates: an endless timeout gives [`Timestamp::NEVER`].
impl Add<Duration> for Timestamp {
    type Output = Self;

    #[inline]
    fn add(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

/// As [`Timestamp::saturating_duration_since`].
impl Sub for Timestamp {
    type Output = Duration;

    #[inline]
    fn sub(self, earlier: Self) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

/// Tells the time: the real one or a simulated one.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    /// `Instant` is CLOCK_MONOTONIC here, which goes on under NTP but not during suspend.
    Monotonic(Instant),
    Virtual(Rc<Cell<Timestamp>>),
}

impl Clock {
    /// Every clock of the process counts from the same start.
    #[allow(clippy::disallowed_methods, reason = "the only place that reads the clock")]
    pub fn monotonic() -> Self {
        static START: OnceLock<Instant> = OnceLock::new();
        Self(Source::Monotonic(*START.get_or_init(Instant::now)))
    }

    #[inline]
    #[allow(clippy::disallowed_methods, reason = "the only place that reads the clock")]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::Monotonic(start) => Timestamp(start.elapsed().as_nanos() as u64),
            Source::Virtual(time) => time.get(),
        }
    }
}

/// The simulator's hand on the clock. Time stands still until it is told to move, and never goes back.
#[derive(Clone, Debug, Default)]
pub struct VirtualClock(Rc<Cell<Timestamp>>);

impl VirtualClock {
    pub fn new() -> Self {
        Self::default()
    }

    /// A clock that shows this time, for whatever is to live in it.
    pub fn clock(&self) -> Clock {
        Clock(Source::Virtual(Rc::clone(&self.0)))
    }

    pub fn now(&self) -> Timestamp {
        self.0.get()
    }

    pub fn advance(&self, duration: Duration) {
        self.0.set(self.now() + duration);
    }

    /// Does nothing when `time` has already passed.
    pub fn advance_to(&self, time: Timestamp) {
        self.0.set(self.now().max(time));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_time_does_not_go_back_and_has_one_start() {
        let first = Clock::monotonic();
        let earlier = first.now();
        let later = Clock::monotonic().now();
        assert!(later >= earlier);
        assert!(later - earlier < Duration::from_secs(60));
    }

    #[test]
    fn virtual_time_moves_when_told() {
        let hand = VirtualClock::new();
        let clock = hand.clock();
        assert_eq!(clock.now(), Timestamp::START);
        hand.advance(Duration::from_micros(5));
        assert_eq!(clock.now().as_nanos(), 5000);
        hand.advance_to(Timestamp::START);
        assert_eq!(clock.now().as_nanos(), 5000);
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Timestamp::START + Duration::MAX, Timestamp::NEVER);
        assert_eq!(Timestamp::START - Timestamp::NEVER, Duration::ZERO);
        assert_eq!(Timestamp::from_tick(u64::MAX), Timestamp::NEVER);
    }

    #[test]
    fn a_deadline_rounds_up_and_now_rounds_down() {
        let time = Timestamp::from_nanos(2_000_001);
        assert_eq!((time.tick_floor(), time.tick_ceil()), (2, 3));
        let sharp = Timestamp::from_tick(2);
        assert_eq!((sharp.tick_floor(), sharp.tick_ceil()), (2, 2));
    }
}
