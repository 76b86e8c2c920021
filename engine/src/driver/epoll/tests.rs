use super::{ready::RECEIVES_PER_EVENT, *};
use crate::{
    buf::{Budget, Class, Sizes},
    driver::contract::{Setup, contract_tests},
};
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
};

const SETUP: Setup = Setup {
    make: |pool, _| Box::new(EpollDriver::new(pool, Clock::monotonic()).expect("epoll")),
    seeds: 0..1,
    bulk: 8 << 20,
    scarce_bytes: 256 << 10,
    settled: Duration::from_millis(20),
};

contract_tests!(SETUP);

/// A driver whose sockets are connected to plain blocking ones.
struct Lab {
    driver: EpollDriver,
    listener: Desc,
    address: std::net::SocketAddr,
    out: Vec<Completion>,
}

impl Lab {
    fn new() -> Self {
        let pool = BufferPool::new(Sizes::default(), Budget::new(64 << 20));
        let mut driver = EpollDriver::new(pool, Clock::monotonic()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let listener = driver.adopt_listener(listener.into()).unwrap();
        Self { driver, listener, address, out: Vec::new() }
    }

    fn connection(&mut self) -> (TcpStream, Desc) {
        let peer = TcpStream::connect(self.address).unwrap();
        peer.set_nodelay(true).unwrap();
        self.driver.submit(OpKey(1), Op::Accept { listener: self.listener });
        match self.next().outcome {
            Outcome::Accepted { desc, .. } => (peer, desc),
            other => panic!("{other:?} of an accept"),
        }
    }

    fn next(&mut self) -> Completion {
        while self.out.is_empty() {
            self.driver.turn(Wait::Forever, &mut self.out).unwrap();
        }
        self.out.remove(0)
    }

    /// Turns until some time has passed; a loop that spins needs thousands.
    fn turns_of_30_ms(&mut self) -> usize {
        let moment = self.driver.now() + Duration::from_millis(30);
        let mut turns = 0;
        while self.driver.now() < moment {
            self.driver.turn(Wait::Until(moment), &mut self.out).unwrap();
            turns += 1;
        }
        turns
    }
}

#[test]
fn a_relayed_message_costs_three_system_calls() {
    const ROUNDS: u64 = 100;
    let mut lab = Lab::new();
    let (mut from, inward) = lab.connection();
    let (mut to, outward) = lab.connection();
    lab.driver.submit(OpKey(2), Op::Recv { desc: inward, bulk: false, once: false });
    lab.driver.turn(Wait::No, &mut lab.out).unwrap();
    let before = sys::CALLS.get();
    for _ in 0..ROUNDS {
        from.write_all(&[7; 64]).unwrap();
        let Outcome::Received { buffer, len } = lab.next().outcome else { panic!("not received") };
        lab.driver.submit(OpKey(3), Op::Send { desc: outward, buffer, from: 0, to: len });
        assert!(matches!(lab.next().outcome, Outcome::Sent { sent: 64, .. }));
        to.read_exact(&mut [0; 64]).unwrap();
    }
    assert_eq!(sys::CALLS.get() - before, 3 * ROUNDS);
}

#[test]
fn what_nobody_waits_for_does_not_spin() {
    type Deed = fn(&mut Lab, TcpStream, Desc);
    let deeds: [Deed; 4] = [
        |_, mut peer, _| {
            peer.write_all(b"unwanted").unwrap();
            std::mem::forget(peer);
        },
        |_, peer, _| drop(peer),
        // Both halves closed: a hang-up, which is reported even to those who ask for nothing.
        |lab, peer, desc| {
            lab.driver.submit(OpKey(5), Op::Shutdown { desc });
            drop(peer);
        },
        // Closed with unread data: a reset.
        |lab, peer, desc| {
            let buffer = lab.driver.pool.take(Class::Small).unwrap();
            lab.driver.submit(OpKey(6), Op::Send { desc, buffer, from: 0, to: 10 });
            drop(peer);
        },
    ];
    for deed in deeds {
        let mut lab = Lab::new();
        let (peer, desc) = lab.connection();
        let recv = lab.driver.submit(OpKey(4), Op::Recv { desc, bulk: false, once: false });
        lab.driver.turn(Wait::No, &mut lab.out).unwrap();
        lab.driver.cancel(recv);
        deed(&mut lab, peer, desc);
        assert!(lab.turns_of_30_ms() < 10);
    }
}

#[test]
fn a_broken_listener_ends_every_accept_and_does_not_spin() {
    let mut lab = Lab::new();
    for _ in 0..5 {
        lab.driver.submit(OpKey(7), Op::Accept { listener: lab.listener });
    }
    // SAFETY: no pointers. What a listener makes of it is that every accept fails.
    assert_eq!(unsafe { libc::shutdown(lab.listener.0 as RawFd, libc::SHUT_RDWR) }, 0);
    assert!(lab.turns_of_30_ms() < 20);
    assert_eq!(lab.out.len(), 5);
    assert!(lab.out.iter().all(|completion| matches!(completion.outcome, Outcome::Failed(Errno(libc::EINVAL)))));
}

#[test]
fn a_busy_sender_does_not_keep_the_turn() {
    let mut lab = Lab::new();
    let (mut peer, desc) = lab.connection();
    peer.write_all(&[1; 200_000]).unwrap();
    lab.driver.submit(OpKey(8), Op::Recv { desc, bulk: false, once: false });
    lab.driver.turn(Wait::Forever, &mut lab.out).unwrap();
    assert_eq!(lab.out.len(), RECEIVES_PER_EVENT);
}
