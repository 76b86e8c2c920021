//! What the two ends of a connection do: drawn from a seed, before anybody has connected.

use super::ledger::HEADER;
use balance_engine::rng::Rng;
use std::time::Duration;

/// One end's part.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) bursts: Vec<Burst>,
    pub(super) reading: Reading,
    pub(super) finish: Finish,
    pub(super) violence: Option<Violence>,
}

/// Bytes to send, once so many have been received, and then after a pause.
#[derive(Clone, Copy, Debug)]
pub(super) struct Burst {
    pub(super) bytes: u64,
    pub(super) after_received: u64,
    pub(super) pause: Duration,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Reading {
    Eager,
    /// A pause after every so many bytes.
    Slow {
        every: u64,
        pause: Duration,
    },
    Never,
    /// Eager for so many bytes, then never again.
    Stops {
        after: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finish {
    /// FIN after the last byte, then read on.
    AfterSending,
    /// FIN when the peer has sent its own.
    AfterPeer { pause: Duration },
    /// Wait for whatever comes.
    Never,
}

/// An end before the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Violence {
    pub(super) when: When,
    pub(super) reset: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum When {
    /// After so many receives and sends.
    Events(u32),
    Elapsed(Duration),
}

/// What must come of a connection where nothing from without goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// Every byte and both FINs.
    Complete,
    /// It dies of its idle time-out, neither sooner nor later.
    IdleTimeout,
    HalfCloseTimeout,
    Anything,
}

#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) client: Part,
    pub(super) backend: Part,
    pub(super) expected: Expected,
    /// It must succeed in any world.
    pub(super) is_probe: bool,
}

/// What scripts of one world keep to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) burst_max: u64,
    /// So long may a connection that is in use pause.
    pub(super) pause_max: Duration,
    pub(super) half_close_pause_max: Duration,
    /// Before a FIN, while both directions are open.
    pub(super) fin_pause_max: Duration,
    pub(super) idle: Option<Duration>,
    pub(super) half_close: Option<Duration>,
    /// Peers that reset, vanish or stop reading.
    pub(super) violence: bool,
}

impl Script {
    pub(super) fn draw(rng: &mut Rng, bounds: &Bounds) -> Self {
        let mut script = match rng.index(10) {
            0..=2 => ping_pong(rng, bounds),
            3 => one_way(rng, bounds, true),
            4 => one_way(rng, bounds, false),
            5 | 6 => both_ways(rng, bounds),
            7 => mute(rng, bounds),
            8 => idle(rng, bounds).unwrap_or_else(|| ping_pong(rng, bounds)),
            _ => half_idle(rng, bounds).unwrap_or_else(|| both_ways(rng, bounds)),
        };
        if bounds.violence && rng.chance(1, 2) {
            script.expected = Expected::Anything;
            let part = if rng.chance(1, 2) { &mut script.client } else { &mut script.backend };
            if rng.chance(1, 6) {
                part.reading = Reading::Never;
                part.finish = Finish::Never;
            } else {
                part.violence = Some(violence(rng));
            }
        }
        script
    }

    /// A client that reads an answer of so many bytes at its own pace, and closes when it has all of it; or waits for
    /// ever, if it stops.
    pub(super) fn download(bytes: u64, reading: Reading) -> Self {
        let answer = Burst { bytes, after_received: HEADER, pause: Duration::ZERO };
        let thanks = Burst { bytes: 0, after_received: HEADER + bytes, pause: Duration::ZERO };
        let stopped = matches!(reading, Reading::Stops { .. });
        let (mine, theirs) = if stopped {
            (Finish::Never, Finish::Never)
        } else {
            (Finish::AfterSending, Finish::AfterPeer { pause: Duration::ZERO })
        };
        Self {
            client: part(vec![header(), thanks], reading, mine),
            backend: part(vec![header(), answer], Reading::Eager, theirs),
            // One that has stopped does not hear of its end before it has read what came before that.
            expected: if stopped { Expected::Anything } else { Expected::Complete },
            is_probe: false,
        }
    }

    /// One small exchange, which must succeed wherever anything can.
    pub(super) fn probe() -> Self {
        let say = |after_received| Burst { bytes: 100, after_received, pause: Duration::ZERO };
        let client = part(vec![header(), say(0)], Reading::Eager, Finish::AfterPeer { pause: Duration::ZERO });
        let backend = part(vec![header(), say(HEADER + 100)], Reading::Eager, Finish::AfterSending);
        Self { client, backend, expected: Expected::Complete, is_probe: true }
    }
}

impl Part {
    /// Of a backend that was never told who its client is: it waits for the end and answers with its own.
    pub(super) fn of_strangers() -> Self {
        part(Vec::new(), Reading::Eager, Finish::AfterPeer { pause: Duration::ZERO })
    }

    /// As [`Part::of_strangers`], but it says who it is before it is asked.
    pub(super) fn of_greeters() -> Self {
        Self { bursts: vec![header()], ..Self::of_strangers() }
    }
}

fn part(bursts: Vec<Burst>, reading: Reading, finish: Finish) -> Part {
    Part { bursts, reading, finish, violence: None }
}

fn header() -> Burst {
    Burst { bytes: HEADER, after_received: 0, pause: Duration::ZERO }
}

fn violence(rng: &mut Rng) -> Violence {
    let (events, micros) = (1 << rng.index(7), 1 << rng.index(24));
    let when = if rng.chance(2, 3) {
        When::Events(rng.below(events) as u32)
    } else {
        When::Elapsed(rng.duration_up_to(Duration::from_micros(micros)))
    };
    Violence { when, reset: rng.chance(2, 3) }
}

/// Small and large sizes are equally likely.
fn size(rng: &mut Rng, bounds: &Bounds) -> u64 {
    let top = 1 << rng.index(bounds.burst_max.ilog2() as usize + 1);
    (1 + rng.below(top)).min(bounds.burst_max)
}

fn pause(rng: &mut Rng, max: Duration) -> Duration {
    if rng.chance(1, 8) { rng.duration_up_to(max) } else { rng.duration_up_to(max.min(Duration::from_millis(2))) }
}

fn reading(rng: &mut Rng, bounds: &Bounds) -> Reading {
    if rng.chance(2, 3) {
        return Reading::Eager;
    }
    // Few pauses, however much there is to read.
    let every = bounds.burst_max / 8 + rng.below(bounds.burst_max);
    Reading::Slow { every, pause: rng.duration_up_to(bounds.pause_max) }
}

fn finish(rng: &mut Rng, bounds: &Bounds) -> Finish {
    if rng.chance(1, 2) {
        Finish::AfterSending
    } else {
        Finish::AfterPeer { pause: rng.duration_up_to(bounds.half_close_pause_max) }
    }
}

/// One of the two must close without waiting for the other.
fn finishes(rng: &mut Rng, bounds: &Bounds) -> (Finish, Finish) {
    let first = Finish::AfterSending;
    let second = finish(rng, bounds);
    if rng.chance(1, 2) { (first, second) } else { (second, first) }
}

fn total(bursts: &[Burst]) -> u64 {
    bursts.iter().map(|b| b.bytes).sum()
}

fn ping_pong(rng: &mut Rng, bounds: &Bounds) -> Script {
    let (mut up, mut down) = (vec![header()], vec![header()]);
    for _ in 0..1 + rng.index(12) {
        let after_received = if up.len() == 1 { 0 } else { total(&down) };
        up.push(Burst { bytes: size(rng, bounds), after_received, pause: pause(rng, bounds.pause_max) });
        down.push(Burst { bytes: size(rng, bounds), after_received: total(&up), pause: pause(rng, bounds.pause_max) });
    }
    let (first, second) = finishes(rng, bounds);
    Script {
        client: part(up, reading(rng, bounds), first),
        backend: part(down, reading(rng, bounds), second),
        expected: Expected::Complete,
        is_probe: false,
    }
}

fn stream(rng: &mut Rng, bounds: &Bounds) -> Vec<Burst> {
    let mut bursts = vec![header()];
    for _ in 0..1 + rng.index(8) {
        bursts.push(Burst { bytes: size(rng, bounds), after_received: 0, pause: pause(rng, bounds.pause_max) });
    }
    bursts
}

fn one_way(rng: &mut Rng, bounds: &Bounds, up: bool) -> Script {
    let (much, little) = (stream(rng, bounds), vec![header()]);
    let (client, backend) = if up { (much, little) } else { (little, much) };
    let (first, second) = finishes(rng, bounds);
    Script {
        client: part(client, reading(rng, bounds), first),
        backend: part(backend, reading(rng, bounds), second),
        expected: Expected::Complete,
        is_probe: false,
    }
}

fn both_ways(rng: &mut Rng, bounds: &Bounds) -> Script {
    let (first, second) = finishes(rng, bounds);
    Script {
        client: part(stream(rng, bounds), reading(rng, bounds), first),
        backend: part(stream(rng, bounds), reading(rng, bounds), second),
        expected: Expected::Complete,
        is_probe: false,
    }
}

/// A client that only closes.
fn mute(rng: &mut Rng, bounds: &Bounds) -> Script {
    let finish = Finish::AfterSending;
    let late = Burst { bytes: 0, after_received: 0, pause: pause(rng, bounds.pause_max) };
    Script {
        client: part(vec![late], Reading::Eager, finish),
        backend: Part::of_strangers(),
        expected: Expected::Complete,
        is_probe: false,
    }
}

/// A client that talks for a while, or not at all, and then only waits.
fn idle(rng: &mut Rng, bounds: &Bounds) -> Option<Script> {
    bounds.idle?;
    let mut script = ping_pong(rng, bounds);
    script.client.finish = Finish::Never;
    script.backend.finish = Finish::Never;
    script.expected = Expected::IdleTimeout;
    Some(script)
}

/// A client that closes its half; the backend never does. The FIN may come after a pause that is longer than the time
/// that a half-closed connection is given.
fn half_idle(rng: &mut Rng, bounds: &Bounds) -> Option<Script> {
    bounds.half_close?;
    let mut script = both_ways(rng, bounds);
    let pause = rng.duration_up_to(bounds.fin_pause_max);
    script.client.bursts.push(Burst { bytes: 0, after_received: total(&script.backend.bursts), pause });
    script.client.finish = Finish::AfterSending;
    if rng.chance(1, 2) {
        script.backend.finish = Finish::Never;
        script.expected = Expected::HalfCloseTimeout;
    } else {
        script.backend.finish = Finish::AfterPeer { pause: bounds.half_close_pause_max };
    }
    Some(script)
}
