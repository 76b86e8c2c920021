//! Promises about one TCP connection and its endings.

use super::{
    flow::{Pace, Sink, Source, exchange},
    rig::{Rig, Setup},
};
use crate::driver::{CloseHow, Desc, Errno, Op, Outcome, Peer};
use std::net::IpAddr;

pub(crate) fn accept_and_connect(setup: &Setup) {
    setup.each(|rig| {
        let (listener, address) = rig.listen();
        let accept = rig.start(Op::Accept { listener });
        let connect = rig.start_connect(address);
        let client = rig.connected(connect);
        let Outcome::Accepted { desc, peer } = rig.last(accept) else { panic!("not accepted") };
        assert!(matches!(peer, Peer::V4([127, 0, 0, 1], 1..)), "{peer:?}");
        assert_ne!(client, desc);
        rig.close(client, CloseHow::Graceful);
        rig.close(desc, CloseHow::Graceful);
        // From a certain address, which the other side sees.
        let from: Option<IpAddr> = Some([127, 0, 0, 1].into());
        let to = crate::driver::Target::Ip { to: address, from };
        let connect = rig.start(Op::Connect { to, options: Default::default() });
        let accept = rig.start(Op::Accept { listener });
        rig.connected(connect);
        rig.accepted(accept);
    });
}

pub(crate) fn messages_come_back(setup: &Setup) {
    setup.each(|rig| {
        let (client, server) = rig.pair();
        for round in 0..50_u8 {
            rig.send_all(client, &[round; 64]);
            assert_eq!(receive(rig, server, 64), [round; 64]);
            rig.send_all(server, &[!round; 64]);
            assert_eq!(receive(rig, client, 64), [!round; 64]);
        }
    });
}

/// Receives exactly `len` bytes, with as many receives as it takes, the last of them cancelled.
fn receive(rig: &mut Rig, desc: Desc, len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut op = rig.start(Op::Recv { desc, bulk: false, once: false });
    rig.run_until("enough bytes", |rig| {
        while let Some(completion) = rig.next(op) {
            match completion.outcome {
                Outcome::Received { buffer, len } => bytes.extend_from_slice(&buffer[..len as usize]),
                Outcome::Failed(Errno::NO_BUFFERS) => {}
                other => panic!("{other:?} instead of bytes"),
            }
            if !completion.more {
                op = rig.start(Op::Recv { desc, bulk: false, once: false });
            }
        }
        bytes.len() >= len
    });
    rig.cancel(op);
    rig.run_until("the receive ends", |rig| !rig.is_live(op));
    assert_eq!(bytes.len(), len);
    bytes
}

/// What ends the stream of a peer that sends nothing more.
fn end_of(rig: &mut Rig, desc: Desc) -> (u64, Result<(), Errno>) {
    let mut sink = Sink::new(desc, Pace::Eager);
    rig.run_until("the stream ends", |rig| {
        sink.poll(rig);
        sink.end.is_some()
    });
    (sink.received, sink.end.unwrap_or(Ok(())))
}

pub(crate) fn a_stream_of_many_bytes_keeps_every_one(setup: &Setup) {
    setup.each(|rig| {
        let bulk = rig.bulk;
        exchange(rig, [bulk, bulk], [Pace::Eager, Pace::Eager]);
        exchange(rig, [bulk / 2, bulk / 3], [Pace::Hesitant, Pace::Eager]);
    });
}

pub(crate) fn a_cancelled_receive_loses_nothing(setup: &Setup) {
    setup.each(|rig| {
        let bulk = rig.bulk / 4;
        exchange(rig, [bulk, bulk], [Pace::Hesitant, Pace::Hesitant]);
    });
}

pub(crate) fn half_close_in_either_order(setup: &Setup) {
    setup.each(|rig| {
        let ends = rig.pair();
        half_close(rig, ends);
        let (client, server) = rig.pair();
        half_close(rig, (server, client));
    });
}

/// The first has closed its half and still hears what the second has to say.
fn half_close(rig: &mut Rig, (first, second): (Desc, Desc)) {
    let mut source = Source::new(first, 1000);
    let mut sink = Sink::new(second, Pace::Eager);
    rig.run_until("the first half ends", |rig| {
        source.poll(rig);
        sink.poll(rig);
        source.done && sink.end.is_some()
    });
    assert_eq!((sink.received, sink.end), (1000, Some(Ok(()))));
    rig.idle(5);
    let mut source = Source::new(second, 100_000);
    let mut sink = Sink::new(first, Pace::Eager);
    rig.run_until("the second half ends", |rig| {
        source.poll(rig);
        sink.poll(rig);
        source.done && sink.end.is_some()
    });
    assert_eq!((sink.received, sink.end), (100_000, Some(Ok(()))));
    rig.close(first, CloseHow::Graceful);
    rig.close(second, CloseHow::Graceful);
}

pub(crate) fn a_reset_is_passed_on(setup: &Setup) {
    setup.each(|rig| {
        let (client, server) = rig.pair();
        // Armed before the reset comes.
        let recv = rig.start(Op::Recv { desc: server, bulk: false, once: false });
        rig.idle(3);
        rig.close(client, CloseHow::Reset);
        assert!(matches!(rig.last(recv), Outcome::Failed(Errno::CONN_RESET)));
        let buffer = rig.buffer();
        assert_eq!(rig.send_some(server, buffer, 10), Err(Errno::BROKEN_PIPE));
        rig.close(server, CloseHow::Graceful);
        // Armed after it has come.
        let (client, server) = rig.pair();
        rig.close(server, CloseHow::Reset);
        assert_eq!(end_of(rig, client), (0, Err(Errno::CONN_RESET)));
        // Reported once; later there is only an end.
        assert_eq!(end_of(rig, client), (0, Ok(())));
    });
}

pub(crate) fn closing_with_unread_data_resets(setup: &Setup) {
    setup.each(|rig| {
        let (client, server) = rig.pair();
        rig.send_all(client, b"never read");
        rig.settle();
        rig.close(server, CloseHow::Graceful);
        assert_eq!(end_of(rig, client), (0, Err(Errno::CONN_RESET)));
    });
}

pub(crate) fn connecting_to_nobody_is_refused(setup: &Setup) {
    setup.each(|rig| {
        let (listener, address) = rig.listen();
        rig.close(listener, CloseHow::Graceful);
        let connect = rig.start_connect(address);
        assert!(matches!(rig.last(connect), Outcome::Failed(Errno::CONN_REFUSED)));
    });
}
