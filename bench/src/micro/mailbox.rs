//! Messages to a shard: the engine's mailbox, and a channel of the standard library with a byte in a socket pair for
//! each message, which is the plain way to wake somebody who sleeps in the kernel.
//!
//! One thread sends and receives, so what is timed is the work and not how soon a core wakes up. A receiver that has
//! been told looks at all there is, as a shard does once a turn.

use super::frame::{Candidate, Case};
use balance_engine::mailbox;
use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    sync::mpsc,
};

/// Operations of one call.
const OPERATIONS: usize = 256;

/// As a command to a shard: a few words.
type Message = [u64; 4];

pub(super) fn cases() -> Vec<Case> {
    vec![case("one at a time", 1), case("bursts of 64", 64)]
}

fn case(name: &'static str, burst: usize) -> Case {
    let (sender, mut receiver) = mailbox::channel::<Message>(OPERATIONS).expect("an eventfd");
    let mut got = Vec::with_capacity(OPERATIONS);
    let ours = send_and_take("mailbox", burst, move |first, count| {
        for number in first..first + count {
            sender.try_send([number; 4]).expect("there is room");
        }
        receiver.drain(&mut got);
        got.drain(..).map(|message| message[0]).sum()
    });
    let (sender, receiver) = mpsc::sync_channel::<Message>(OPERATIONS);
    let (mut bell, mut ear) = UnixStream::pair().expect("a socket pair");
    let mut bytes = [0; OPERATIONS];
    let plain = send_and_take("mpsc and a byte", burst, move |first, count| {
        for number in first..first + count {
            sender.try_send([number; 4]).expect("there is room");
            bell.write_all(&[1]).expect("somebody listens");
        }
        let rung = ear.read(&mut bytes).expect("somebody speaks") as u64;
        assert_eq!(rung, count, "a byte for each message");
        receiver.try_iter().map(|message| message[0]).sum()
    });
    Case { name, operation: "message", candidates: vec![ours, plain] }
}

/// `exchange` sends so many messages, with numbers from the first on, and takes them. Answers the sum of the numbers.
fn send_and_take(name: &'static str, burst: usize, mut exchange: impl FnMut(u64, u64) -> u64 + 'static) -> Candidate {
    Candidate::new(name, OPERATIONS, move |watch| {
        watch.time(|| (0..OPERATIONS).step_by(burst).map(|first| exchange(first as u64, burst as u64)).sum())
    })
}
