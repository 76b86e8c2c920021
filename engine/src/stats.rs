//! What a shard counts about itself. Plain numbers, copied out on request; nobody reads them while a shard writes.

use std::time::Duration;

/// A copy of one shard's counters.
#[derive(Clone, Debug, Default)]
pub struct EngineStats {
    pub loop_: LoopStats,
    pub tasks: TaskStats,
    pub buffers: BufferStats,
    pub pipes: PipeStats,
    /// Operations submitted whose last completion is not in yet.
    pub ops_in_flight: u64,
    /// Open descriptors owned by this shard: direct (registered) and real.
    pub descriptors: u64,
    pub timers: u64,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct LoopStats {
    /// Passes of wait, reap, run.
    pub turns: u64,
    /// Completions reaped in all of them.
    pub completions: u64,
    /// Turns that waited with the kernel's minimum wait, to batch.
    pub min_wait_turns: u64,
    /// Receives that ended because no buffer was left (ENOBUFS); each is re-armed when buffers come back.
    pub starved: u64,
    /// Connections that wait for a buffer now.
    pub starved_now: u64,
    /// Times the completion queue overflowed.
    pub cq_overflows: u64,
    /// Times accepting paused for want of descriptors, memory or admission.
    pub accept_pauses: u64,
    /// Messages taken from the mailbox.
    pub messages: u64,
    /// Longest time between two waits seen in the sampled turns.
    pub slowest_turn: Duration,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct TaskStats {
    pub live: u64,
    pub queued: u64,
    pub spawned: u64,
    pub ended: u64,
    pub panicked: u64,
    /// Ended by their deadline.
    pub expired: u64,
    /// Refused: the task table and its queue were full.
    pub refused: u64,
    pub polls: u64,
    /// Polls that spent their work budget and went to the end of the queue.
    pub yielded: u64,
    /// Slowest poll seen in the sampled turns.
    pub slowest_poll: Duration,
}

/// Per class, smallest first.
#[derive(Clone, Copy, Debug, Default)]
pub struct BufferStats {
    pub classes: [BufferClassStats; 4],
    /// Small buffers lent to the receive ring now.
    pub ring: u64,
    /// Bytes of the process-wide cap that this shard holds.
    pub leased_bytes: u64,
    /// Of them, registered for zero-copy sends now; what several rings know counts once for each.
    pub registered_bytes: u64,
    /// Rings with which no memory could be registered.
    pub registrations_refused: u64,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct BufferClassStats {
    pub size: u64,
    /// Handed out now, those in the receive ring included.
    pub in_use: u64,
    /// Allocated, in use or free.
    pub capacity: u64,
    pub taken_total: u64,
    /// Requests refused by the process-wide cap.
    pub refused_total: u64,
}

/// What a shard's pipes did.
#[derive(Clone, Copy, Debug, Default)]
pub struct PipeStats {
    /// Lent now.
    pub in_use: u64,
    /// Kept empty for the next one.
    pub idle: u64,
    pub taken_total: u64,
    /// Not had: descriptors or the cap were used up.
    pub refused_total: u64,
    /// Times the kernel refused a larger size.
    pub size_refused_total: u64,
}
