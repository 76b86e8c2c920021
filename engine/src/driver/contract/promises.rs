//! Promises about operations, whatever they are asked of.

use super::{
    flow::{Pace, Sink, Source},
    rig::{Rig, Setup, Ticket},
};
use crate::buf::Class;
use crate::driver::{CloseHow, Completion, Desc, Errno, Interest, Op, Outcome, Target, Wait};
use std::{
    fs::File,
    io::{Read, Write},
    os::fd::{AsRawFd, FromRawFd},
    os::unix::net::UnixListener,
    time::Duration,
};

pub(crate) fn accepts_wait_side_by_side(setup: &Setup) {
    setup.each(|rig| {
        let (listener, address) = rig.listen();
        let accepts: Vec<Ticket> = (0..8).map(|_| rig.start(Op::Accept { listener })).collect();
        let connects: Vec<Ticket> = (0..8).map(|_| rig.start_connect(address)).collect();
        for connect in connects {
            rig.connected(connect);
        }
        for accept in accepts {
            rig.accepted(accept);
        }
    });
}

pub(crate) fn an_accept_can_be_cancelled(setup: &Setup) {
    setup.each(|rig| {
        let (listener, address) = rig.listen();
        let accepts: Vec<Ticket> = (0..3).map(|_| rig.start(Op::Accept { listener })).collect();
        rig.idle(2);
        rig.cancel(accepts[1]);
        assert!(matches!(rig.last(accepts[1]), Outcome::Failed(Errno::CANCELED)));
        // The others are not hurt.
        for _ in 0..2 {
            let connect = rig.start_connect(address);
            rig.connected(connect);
        }
        for accept in [accepts[0], accepts[2]] {
            rig.accepted(accept);
        }
        // A cancelled accept and a connection at the same moment: whichever wins, nothing is lost or leaks.
        let accept = rig.start(Op::Accept { listener });
        let connect = rig.start_connect(address);
        rig.cancel(accept);
        rig.connected(connect);
        match rig.last(accept) {
            Outcome::Accepted { .. } => {}
            Outcome::Failed(Errno::CANCELED) => {
                let accept = rig.start(Op::Accept { listener });
                rig.accepted(accept);
            }
            other => panic!("{other:?} of an accept"),
        }
    });
}

pub(crate) fn a_connect_can_be_cancelled(setup: &Setup) {
    setup.each(|rig| {
        let (_listener, address) = rig.listen();
        for turns in 0..3 {
            let connect = rig.start_connect(address);
            rig.idle(turns);
            rig.cancel(connect);
            match rig.last(connect) {
                Outcome::Connected(desc) => rig.close(desc, CloseHow::Graceful),
                Outcome::Failed(Errno::CANCELED) => {}
                other => panic!("{other:?} of a connect"),
            }
        }
    });
}

/// Sends until a send stays in flight.
fn fill(rig: &mut Rig, desc: Desc) -> Ticket {
    let mut quiet = 0;
    let mut send = None;
    while quiet < 100 {
        if let Some(ticket) = send
            && let Some(Completion { outcome, .. }) = rig.next(ticket)
        {
            assert!(matches!(outcome, Outcome::Sent { .. }), "{outcome:?}");
            send = None;
        }
        if send.is_none() {
            quiet = 0;
            let buffer = rig.buffer();
            send = Some(rig.start(Op::Send { desc, buffer, from: 0, to: 4096 }));
        }
        let wait = Wait::Until(rig.driver.now() + Duration::from_millis(1));
        rig.turn(wait);
        quiet += 1;
    }
    send.expect("the loop ends while a send waits")
}

pub(crate) fn a_blocked_send_can_be_cancelled(setup: &Setup) {
    setup.each(|rig| {
        let (client, _server) = rig.pair();
        let send = fill(rig, client);
        rig.cancel(send);
        match rig.last(send) {
            Outcome::SendFailed { errno: Errno::CANCELED, .. } | Outcome::Sent { .. } => {}
            other => panic!("{other:?} of a cancelled send"),
        }
    });
}

/// A peer that has closed its half and reads nothing: what waits for room there waits, at no cost, and ends when there
/// is room or when it is cancelled.
pub(crate) fn a_send_waits_for_a_peer_that_has_closed_its_half(setup: &Setup) {
    setup.each(|rig| {
        let (client, server) = rig.pair();
        let shutdown = rig.start(Op::Shutdown { desc: client });
        rig.last(shutdown);
        let end = rig.start(Op::Recv { desc: server, bulk: false, once: false });
        assert!(matches!(rig.last(end), Outcome::Eof));
        let send = fill(rig, server);
        rig.cancel(send);
        match rig.last(send) {
            Outcome::SendFailed { errno: Errno::CANCELED, .. } | Outcome::Sent { .. } => {}
            other => panic!("{other:?} of a cancelled send"),
        }
        let send = fill(rig, server);
        let poll = rig.start(Op::Poll { desc: server, interest: Interest::Write });
        let gone = rig.start(Op::Poll { desc: server, interest: Interest::Write });
        rig.idle(20);
        assert!(rig.is_live(send), "there is no room");
        rig.cancel(gone);
        // A poll may end without a reason: whoever waits looks for himself.
        assert!(matches!(rig.last(gone), Outcome::Failed(Errno::CANCELED) | Outcome::Done));
        let mut recv = rig.start(Op::Recv { desc: client, bulk: false, once: false });
        rig.run_until("room", |rig| {
            while rig.next(recv).is_some() {}
            if !rig.is_live(recv) {
                recv = rig.start(Op::Recv { desc: client, bulk: false, once: false });
            }
            !rig.is_live(send) && !rig.is_live(poll)
        });
        assert!(matches!(rig.last(send), Outcome::Sent { sent: 1.., .. }));
        assert!(matches!(rig.last(poll), Outcome::Done));
        rig.cancel(recv);
        rig.run_until("the receive ends", |rig| {
            while rig.next(recv).is_some() {}
            !rig.is_live(recv)
        });
    });
}

fn unacked(rig: &mut Rig, desc: Desc) -> u32 {
    let ask = rig.start(Op::Unacked { desc });
    match rig.last(ask) {
        Outcome::Unacked(bytes) => bytes,
        other => panic!("{other:?} instead of a number"),
    }
}

/// Takes what comes until the other end has nothing more to send.
fn read_until_acked(rig: &mut Rig, reader: Desc, writer: Desc) {
    let mut recv = rig.start(Op::Recv { desc: reader, bulk: false, once: false });
    for _ in 0..100_000 {
        rig.turn(Wait::Until(rig.driver.now() + Duration::from_millis(1)));
        while let Some(completion) = rig.next(recv) {
            if !completion.more {
                recv = rig.start(Op::Recv { desc: reader, bulk: false, once: false });
            }
        }
        if unacked(rig, writer) == 0 {
            return;
        }
    }
    panic!("{} bytes are never acknowledged", unacked(rig, writer));
}

pub(crate) fn what_is_not_acknowledged_is_told(setup: &Setup) {
    setup.few(|rig| {
        let (client, server) = rig.pair();
        assert_eq!(unacked(rig, client), 0);
        let (blocked, full) = loop {
            let blocked = fill(rig, client);
            match unacked(rig, client) {
                // It was not that there is no room: a simulated send that is lost does nothing until it is cancelled.
                0 => rig.cancel(blocked),
                full => break (blocked, full),
            }
            rig.last(blocked);
        };
        rig.settle();
        assert_eq!(unacked(rig, client), full, "nobody reads");
        assert_eq!(unacked(rig, server), 0);
        read_until_acked(rig, server, client);
        rig.cancel(blocked);
        rig.last(blocked);
    });
}

pub(crate) fn cancelling_what_is_over_does_nothing(setup: &Setup) {
    setup.each(|rig| {
        let (client, server) = rig.pair();
        let buffer = rig.buffer();
        let old = rig.start(Op::Send { desc: client, buffer, from: 0, to: 1 });
        rig.last(old);
        let recv = rig.start(Op::Recv { desc: client, bulk: false, once: false });
        rig.cancel(old);
        rig.send_all(server, b"still there");
        rig.run_until("the receive goes on", |rig| rig.next(recv).is_some());
        if rig.is_live(recv) {
            rig.cancel(recv);
            rig.cancel(recv);
        }
        rig.run_until("the receive ends", |rig| !rig.is_live(recv));
        rig.cancel(recv);
    });
}

pub(crate) fn many_connections_at_once(setup: &Setup) {
    setup.few(|rig| {
        let (listener, address) = rig.listen();
        let (mut sources, mut sinks) = (Vec::new(), Vec::new());
        for _ in 0..25 {
            let connects: Vec<Ticket> = (0..20).map(|_| rig.start_connect(address)).collect();
            let accepts: Vec<Ticket> = (0..20).map(|_| rig.start(Op::Accept { listener })).collect();
            for (connect, accept) in connects.into_iter().zip(accepts) {
                sources.push(Source::new(rig.connected(connect), 5000));
                sinks.push(Sink::new(rig.accepted(accept), Pace::Eager));
            }
        }
        rig.run_until("all streams end", |rig| {
            sources.iter_mut().for_each(|source| source.poll(rig));
            sinks.iter_mut().for_each(|sink| sink.poll(rig));
            sources.iter().all(|source| source.done) && sinks.iter().all(|sink| sink.end.is_some())
        });
        assert_eq!(sinks.len(), 500);
        assert!(sinks.iter().all(|sink| (sink.received, sink.end) == (5000, Some(Ok(())))));
    });
}

pub(crate) fn the_wake_descriptor_is_reported_every_time(setup: &Setup) {
    setup.each(|rig| {
        // SAFETY: no pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        // SAFETY: the kernel has just made it, and nobody else knows of it.
        let mut wake = unsafe { File::from_raw_fd(fd) };
        rig.driver.watch_wake(wake.as_raw_fd());
        let woken = |rig: &mut Rig| {
            // A driver may need a turn to notice.
            let moment = rig.driver.now() + Duration::from_millis(20);
            rig.turn(Wait::Until(moment)) || rig.turn(Wait::No)
        };
        for _ in 0..3 {
            assert!(!woken(rig));
            wake.write_all(&1_u64.to_ne_bytes()).expect("an eventfd takes a number");
            // Once at least; a driver may say it again as long as nobody has read it.
            assert!(woken(rig), "written to, and not yet read");
            wake.read_exact(&mut [0; 8]).expect("an eventfd gives it back");
            // What was on its way when it was read may still come.
            woken(rig);
        }
    });
}

pub(crate) fn running_out_of_buffers_is_survived(setup: &Setup) {
    setup.each_with(setup.scarce_bytes, |rig| {
        let (client, server) = rig.pair();
        let total = 2 * rig.pool.size(Class::Small) as u64 + 2 * setup.scarce_bytes;
        let (mut sent, mut received) = (0, 0);
        let mut send = None;
        let mut idle_buffer = Some(rig.buffer());
        let mut recv = rig.start(Op::Recv { desc: server, bulk: false, once: false });
        // Every buffer is kept, until there is none left.
        let mut kept = Vec::new();
        let mut starved = false;
        rig.run_until("everything is received", |rig| {
            if let Some(Completion { outcome, .. }) = send.and_then(|ticket| rig.next(ticket)) {
                let Outcome::Sent { buffer, sent: more } = outcome else { panic!("{outcome:?} of a send") };
                sent += u64::from(more);
                idle_buffer = Some(buffer);
            }
            if sent < total
                && let Some(buffer) = idle_buffer.take()
            {
                let to = (total - sent).min(4096) as u32;
                send = Some(rig.start(Op::Send { desc: client, buffer, from: 0, to }));
            }
            while let Some(Completion { outcome, more, .. }) = rig.next(recv) {
                match outcome {
                    Outcome::Received { buffer, len } => {
                        received += u64::from(len);
                        kept.extend((!starved).then_some(buffer));
                    }
                    Outcome::Failed(Errno::NO_BUFFERS) => {
                        starved = true;
                        kept.clear();
                    }
                    other => panic!("{other:?} of a receive"),
                }
                if !more {
                    recv = rig.start(Op::Recv { desc: server, bulk: false, once: false });
                }
            }
            received == total
        });
        assert!(starved, "it was to run out of buffers");
    });
}

pub(crate) fn operations_on_unix_sockets(setup: &Setup) {
    setup.each(|rig| {
        let path = std::env::temp_dir().join(format!("balance-{}-{:x}", std::process::id(), rig.rng.next_u64()));
        let connect_to =
            |rig: &mut Rig| rig.start(Op::Connect { to: Target::Unix(path.clone()), options: Default::default() });
        let connect = connect_to(rig);
        assert!(matches!(rig.last(connect), Outcome::Failed(Errno(libc::ENOENT))));
        let listener = rig.adopt(UnixListener::bind(&path).expect("a fresh path").into());
        let (connect, accept) = (connect_to(rig), rig.start(Op::Accept { listener }));
        let client = rig.connected(connect);
        let Outcome::Accepted { desc: server, peer } = rig.last(accept) else { panic!("not accepted") };
        assert_eq!(peer.socket_addr(), None);
        let (connect, accept) = (connect_to(rig), rig.start(Op::Accept { listener }));
        let (other_client, other_server) = (rig.connected(connect), rig.accepted(accept));
        std::fs::remove_file(&path).expect("it was there");
        let buffer = rig.buffer();
        rig.send_some(other_client, buffer, 100).expect("there is room");
        assert!(unacked(rig, other_client) >= 100);
        read_until_acked(rig, other_server, other_client);
        let mut source = Source::new(client, 1 << 20);
        let mut sink = Sink::new(server, Pace::Hesitant);
        rig.run_until("the stream ends", |rig| {
            source.poll(rig);
            sink.poll(rig);
            source.done && sink.end.is_some()
        });
        assert_eq!((sink.received, sink.end), (1 << 20, Some(Ok(()))));
        rig.close(server, CloseHow::Reset);
        rig.close(client, CloseHow::Graceful);
    });
}

pub(crate) fn time_passes_in_turns(setup: &Setup) {
    setup.each(|rig| {
        let start = rig.driver.now();
        rig.turn(Wait::No);
        let moment = start + Duration::from_micros(2500);
        let mut out = Vec::new();
        let mut last = start;
        let mut turns = 0;
        while last < moment {
            let turn = rig.driver.turn(Wait::Until(moment), &mut out).expect("the driver works");
            assert!(turn.now >= last, "time goes back");
            last = turn.now;
            turns += 1;
        }
        assert!(turns < 10, "{turns} turns to wait once");
        assert!(out.is_empty());
        assert!(rig.driver.now() >= last);
    });
}
