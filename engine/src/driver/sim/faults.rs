//! What may go wrong, and how often.

use crate::rng::Rng;
use std::time::Duration;

/// Probabilities, each from 0 to 1; all zero by default. What a real kernel and a real network do to a program on a bad
/// day, and nothing that they never do: no byte is lost, doubled or swapped, no cancellation comes out of nowhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Faults {
    /// A send takes less than there was room for.
    pub short_send: f64,
    /// A receive brings less than has arrived.
    pub short_recv: f64,
    /// A receive ends without an error, by a `Received` that promises no more.
    pub multishot_end: f64,
    /// A receive ends with ENOBUFS although the pool is not empty.
    pub no_buffers: f64,
    /// A completion takes up to `late_max` longer than others.
    pub late: f64,
    pub late_max: Duration,
    /// A cancellation takes a while, in which the operation may still do its work.
    pub cancel_race: f64,
    /// An operation never does anything until it is cancelled.
    pub lost: f64,
    /// An accept ends with EMFILE, ENFILE or ENOMEM; the connection goes on waiting.
    pub accept_exhausted: f64,
    /// Making a socket fit for splice ends with EMFILE.
    pub install_exhausted: f64,
    /// A wait for readiness ends although nothing is ready.
    pub spurious_poll: f64,
    /// A splice to a socket meets a reset behind some of its bytes: it tells of these, and nobody is told of the reset.
    pub splice_swallows: f64,
    /// A splice by a worker thread ends with ECANCELED and has moved nothing: the worker is gone.
    pub splice_canceled: f64,
    /// A connect ends with EMFILE or ENOMEM.
    pub connect_exhausted: f64,
    /// A connect is refused although somebody listens.
    pub connect_refused: f64,
    /// A connect is never answered.
    pub connect_silent: f64,
    /// A connect is answered up to `late_max` later.
    pub connect_late: f64,
    /// A connection is reset from without, after at most `reset_segments_max` segments.
    pub reset: f64,
    pub reset_segments_max: u32,
    /// A reset takes with it what has arrived and was not received yet. (Linux keeps it: first the data, then the
    /// error.)
    pub reset_discards: f64,
    /// A close takes effect, and completes, up to `late_max` later.
    pub close_late: f64,
    /// A turn finds its completion queue overflowed: what is there comes some turns later.
    pub cq_overflow: f64,
}

impl Default for Faults {
    fn default() -> Self {
        Self::NONE
    }
}

impl Faults {
    pub const NONE: Self = Self {
        short_send: 0.0,
        short_recv: 0.0,
        multishot_end: 0.0,
        no_buffers: 0.0,
        late: 0.0,
        late_max: Duration::from_millis(200),
        cancel_race: 0.0,
        lost: 0.0,
        accept_exhausted: 0.0,
        install_exhausted: 0.0,
        spurious_poll: 0.0,
        splice_swallows: 0.0,
        splice_canceled: 0.0,
        connect_exhausted: 0.0,
        connect_refused: 0.0,
        connect_silent: 0.0,
        connect_late: 0.0,
        reset: 0.0,
        reset_segments_max: 50,
        reset_discards: 0.0,
        close_late: 0.0,
        cq_overflow: 0.0,
    };

    /// Everything that a correct program survives without its peers noticing: timing, cutting, running short.
    pub const HARMLESS: Self = Self {
        short_send: 0.2,
        short_recv: 0.2,
        multishot_end: 0.1,
        no_buffers: 0.05,
        late: 0.02,
        cancel_race: 0.5,
        install_exhausted: 0.1,
        spurious_poll: 0.1,
        splice_swallows: 0.5,
        connect_late: 0.1,
        close_late: 0.2,
        cq_overflow: 0.05,
        ..Self::NONE
    };

    /// As [`Faults::HARMLESS`], and connections and descriptors fail besides.
    pub const HARSH: Self = Self {
        lost: 0.002,
        accept_exhausted: 0.05,
        splice_canceled: 0.005,
        connect_exhausted: 0.05,
        connect_refused: 0.05,
        connect_silent: 0.02,
        reset: 0.2,
        reset_discards: 0.5,
        ..Self::HARMLESS
    };
}

/// True with this probability. One that is zero costs no random number, so that adding a fault that is off does not
/// change what a seed does.
pub(super) fn strikes(rng: &mut Rng, probability: f64) -> bool {
    const STEPS: f64 = (1_u64 << 53) as f64;
    probability > 0.0 && ((rng.next_u64() >> 11) as f64) < probability * STEPS
}
