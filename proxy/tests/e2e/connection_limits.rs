//! `max_connections` of listeners, clusters and endpoints, over sixteen shards at once; the queue before them.
#![allow(clippy::disallowed_methods, reason = "tests give up after a while, by a clock of their own")]

use crate::harness::{
    Mode, PATIENCE, Rig, cluster, dial, eventually, listener, pause,
    peers::{Backend, nobody, round_trip},
};
use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

const SIXTEEN: &str = "[runtime]\ncores = [0]\nshards_per_core = 16\n";

fn sixteen(mode: Mode, config: &str) -> Rig {
    Rig::start(Mode { shards_per_core: 16, ..mode }, &format!("{SIXTEEN}{config}"))
}

fn web(more: &str) -> String {
    listener("web", "app", more)
}

/// An echo on one thread, which counts its connections. Before it counts a new one it looks which of the old ones have
/// been closed, so that what it sees is not more than there was.
struct Counting {
    address: SocketAddr,
    most: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Counting {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (most, over) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let (count, end) = (Arc::clone(&most), Arc::clone(&over));
        let thread = thread::spawn(move || serve(&listener, &count, &end));
        Self { address, most, over, thread: Some(thread) }
    }

    fn most(&self) -> usize {
        self.most.load(SeqCst)
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.over.store(true, SeqCst);
        drop(self.thread.take().map(JoinHandle::join));
    }
}

fn serve(listener: &TcpListener, most: &AtomicUsize, over: &AtomicBool) {
    listener.set_nonblocking(true).unwrap();
    let mut open: Vec<TcpStream> = Vec::new();
    while !over.load(SeqCst) {
        let new = listener.accept();
        open.retain_mut(echo_what_came);
        if let Ok((stream, _)) = new {
            stream.set_nonblocking(true).unwrap();
            open.push(stream);
            most.fetch_max(open.len(), SeqCst);
        } else {
            thread::yield_now();
        }
    }
}

/// False at the end of the stream.
fn echo_what_came(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return false,
            Ok(count) => drop(stream.write_all(&buffer[..count])),
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
    }
}

/// So many clients at once, each with so many connections one after the other.
fn hammer(address: SocketAddr, clients: usize, rounds: usize) {
    thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(move || {
                for _ in 0..rounds {
                    round_trip(&dial(address).unwrap(), b"served").unwrap();
                }
            });
        }
    });
}

/// Connections that were closed in order have left no trace.
fn nothing_is_held(rig: &mut Rig, what: &str) {
    eventually("permits given back", || (rig.metric(&format!("balance_{what}_permits_live")) == 0.0).then_some(()));
}

/// Every shard accepts without waiting once more, so that all have their accepts in flight again.
fn calm(rig: &mut Rig) {
    let address = rig.proxy.listening("web");
    hammer(address, 1, 300);
    rig.settled();
}

fn waiting(rig: &mut Rig, count: u64) {
    eventually("so many in the queue", || (rig.metric("balance_cluster_queue_waiting") as u64 == count).then_some(()));
}

fn is_refused(address: SocketAddr) {
    // The reset may come before `connect` has looked.
    let refused = dial(address).and_then(|stream| round_trip(&stream, b"no")).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionReset, "{refused}");
}

fn served(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let all: Vec<_> = (0..count).map(|_| dial(address).unwrap()).collect();
    all.iter().for_each(|stream| round_trip(stream, b"served").unwrap());
    all
}

fn a_cluster_never_has_more_than_its_limit_and_all_are_served_in_the_end(mode: Mode) {
    let backend = Counting::new();
    let more = "max_connections = 20\nqueue = { size = 1000, timeout = \"1m\" }";
    let mut rig = sixteen(mode, &(web("") + &cluster("app", &[backend.address], more)));
    let address = rig.proxy.listening("web");
    hammer(address, 48, 40);
    println!("{mode:?}: {} of 20 at once", backend.most());
    assert!((15..=20).contains(&backend.most()), "{} at once", backend.most());
    assert!(rig.metric("balance_cluster_queued_total") > 0.0);
    nothing_is_held(&mut rig, "cluster");
    waiting(&mut rig, 0);
    rig.settled();
    assert_eq!((rig.ended("limit"), rig.ended("queue_timeout")), (0, 0));
}
scenario!(a_cluster_never_has_more_than_its_limit_and_all_are_served_in_the_end: uring, epoll, uring_floor);

fn endpoints_never_have_more_than_their_limits(mode: Mode) {
    let backends = [Counting::new(), Counting::new()];
    let [one, other] = [0, 1].map(|i: usize| backends[i].address);
    let config = format!(
        "{}[clusters.app]\nqueue = {{ size = 1000, timeout = \"1m\" }}\nendpoints = [\n  \
         {{ address = \"{one}\", max_connections = 5 }},\n  {{ address = \"{other}\", max_connections = 9 }},\n]\n",
        web("")
    );
    let mut rig = sixteen(mode, &config);
    let address = rig.proxy.listening("web");
    hammer(address, 40, 30);
    assert!(backends[0].most() <= 5 && backends[1].most() <= 9, "{} {}", backends[0].most(), backends[1].most());
    // All of both, from whichever shards.
    let all = served(address, 14);
    assert_eq!(rig.endpoints("active"), [5, 9]);
    drop(all);
    nothing_is_held(&mut rig, "endpoint");
    rig.settled();
}
scenario!(endpoints_never_have_more_than_their_limits: uring, epoll);

/// Whatever shard each lands on, exactly the limit is let in, again and again: nothing is lost in reserves.
fn all_of_the_limit_can_be_used_and_not_one_more(mode: Mode) {
    let backend = Backend::echo();
    let mut rig = sixteen(mode, &(web("") + &cluster("app", &[backend.address], "max_connections = 100")));
    let address = rig.proxy.listening("web");
    for round in 1..=5 {
        let all = served(address, 100);
        is_refused(address);
        assert_eq!(rig.ended("limit"), round);
        assert_eq!(rig.metric("balance_cluster_permits_live"), 100.0);
        assert_eq!(rig.metric("balance_cluster_permits_leased"), 100.0);
        drop(all);
        nothing_is_held(&mut rig, "cluster");
    }
    assert_eq!(rig.metric("balance_cluster_limit_refused_total"), 5.0);
    rig.settled();
}
scenario!(all_of_the_limit_can_be_used_and_not_one_more: uring, epoll);

/// Over the limit of a listener, clients wait in the kernel's queue and cost nothing; nobody is refused.
fn a_listener_at_its_limit_leaves_clients_to_the_kernel(mode: Mode) {
    let backend = Counting::new();
    let mut rig = sixteen(mode, &(web("max_connections = 10") + &cluster("app", &[backend.address], "")));
    let address = rig.proxy.listening("web");
    let mut held = served(address, 10);
    let late: Vec<_> = (0..30).map(|_| dial(address).unwrap()).collect();
    late.iter().for_each(|mut stream| stream.write_all(b"x").unwrap());
    eventually("a pause", || (rig.metric("balance_listener_accept_paused") > 0.0).then_some(()));
    let (before, start) = (rig.cpu_time(), Instant::now());
    // tidy: sleep because the CPU time of doing nothing is what is measured
    thread::sleep(Duration::from_secs(1));
    let (spent, took) = (rig.cpu_time() - before, start.elapsed());
    assert!(spent < took / 10, "{spent:?} of CPU in {took:?} of pausing");
    assert_eq!((rig.active(), backend.most()), (10, 10));
    // One goes, one comes: whichever it is, for all of them in the end.
    let mut left = late;
    while !left.is_empty() {
        drop(held.pop());
        let next = eventually("one more", || left.iter().position(has_answer));
        held.push(left.swap_remove(next));
    }
    assert_eq!(backend.most(), 10);
    drop(held);
    hammer(address, 40, 20);
    assert!(backend.most() <= 10, "{} at once", backend.most());
    nothing_is_held(&mut rig, "listener");
    calm(&mut rig);
    assert_eq!(rig.ended("limit"), 0);
}
scenario!(a_listener_at_its_limit_leaves_clients_to_the_kernel: uring, epoll, uring_floor);

/// Whether a client that has said something has been answered.
fn has_answer(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let answered = matches!(stream.peek(&mut [0]), Ok(1..));
    stream.set_nonblocking(false).unwrap();
    answered
}

fn those_who_wait_are_served_in_order_of_coming(mode: Mode) {
    let backend = Backend::echo();
    let more = "max_connections = 1\nqueue = { size = 8, timeout = \"1m\" }";
    let mut rig = sixteen(mode, &(web("") + &cluster("app", &[backend.address], more)));
    let address = rig.proxy.listening("web");
    let mut holder = served(address, 1).remove(0);
    let mut queue = Vec::new();
    for place in 1..=8 {
        let mut late = dial(address).unwrap();
        late.write_all(b"x").unwrap();
        queue.push(late);
        waiting(&mut rig, place);
    }
    assert_eq!(rig.json("/connections?state=queued")["connections"].as_array().unwrap().len(), 8);
    // One more finds no place.
    is_refused(address);
    // The third loses patience. It is not missed; should it only be seen in its turn, it leaves at once.
    drop(queue.remove(2));
    while !queue.is_empty() {
        holder = next_is_served(holder, &mut queue);
    }
    drop(holder);
    nothing_is_held(&mut rig, "cluster");
    waiting(&mut rig, 0);
    rig.settled();
    assert_eq!(rig.ended("limit"), 1);
}
scenario!(those_who_wait_are_served_in_order_of_coming: uring, epoll);

fn next_is_served(holder: TcpStream, queue: &mut Vec<TcpStream>) -> TcpStream {
    drop(holder);
    let start = Instant::now();
    let mut next = queue.remove(0);
    next.read_exact(&mut [0]).unwrap();
    println!("served after {:?}", start.elapsed());
    assert!(!queue.iter().any(has_answer), "somebody was served before their turn");
    next
}

fn who_waits_too_long_is_told_so(mode: Mode) {
    let backend = Backend::echo();
    let more = "max_connections = 1\nqueue = { size = 4, timeout = \"300ms\" }";
    let mut rig = sixteen(mode, &(web("") + &cluster("app", &[backend.address], more)));
    let address = rig.proxy.listening("web");
    let holder = served(address, 1);
    let start = Instant::now();
    let late: Vec<_> = (0..4).map(|_| dial(address).unwrap()).collect();
    for stream in &late {
        assert_eq!(round_trip(stream, b"please").unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }
    assert!((Duration::from_millis(290)..PATIENCE).contains(&start.elapsed()), "{:?}", start.elapsed());
    assert_eq!((rig.ended("queue_timeout"), rig.metric("balance_cluster_queue_timeouts_total")), (4, 4.0));
    drop(holder);
    nothing_is_held(&mut rig, "cluster");
    drop(served(address, 1));
    nothing_is_held(&mut rig, "cluster");
    rig.settled();
}
scenario!(who_waits_too_long_is_told_so: uring, epoll);

fn a_reload_lowers_and_raises_a_limit_under_way(mode: Mode) {
    let backend = Counting::new();
    let at = |max: &str| {
        let more = format!("max_connections = {max}\nqueue = {{ size = 4, timeout = \"1m\" }}");
        SIXTEEN.to_owned() + &web("") + &cluster("app", &[backend.address], &more)
    };
    let mut rig = Rig::start(Mode { shards_per_core: 16, ..mode }, &at("\"unlimited\""));
    let address = rig.proxy.listening("web");
    let mut held = served(address, 10);
    rig.reload(&at("5"));
    held.iter().for_each(|stream| round_trip(stream, b"still here").unwrap());
    assert_eq!(rig.metric("balance_cluster_permits_live"), 10.0);
    let late: Vec<_> = (0..4).map(|_| dial(address).unwrap()).collect();
    waiting(&mut rig, 4);
    // Five go, and the limit is met but not undercut; with the sixth there is room for one.
    held.truncate(5);
    eventually("five left", || (rig.metric("balance_cluster_permits_live") == 5.0).then_some(()));
    assert_eq!(rig.metric("balance_cluster_queue_waiting"), 4.0);
    held.truncate(4);
    waiting(&mut rig, 3);
    rig.reload(&at("7"));
    waiting(&mut rig, 1);
    assert_eq!(rig.metric("balance_cluster_permits_live"), 7.0);
    rig.reload(&at("\"unlimited\""));
    waiting(&mut rig, 0);
    late.iter().for_each(|stream| round_trip(stream, b"at last").unwrap());
    drop((held, late));
    eventually("the end of all", || (rig.active() == 0).then_some(()));
    rig.settled();
}
scenario!(a_reload_lowers_and_raises_a_limit_under_way: uring, epoll);

/// An endpoint that a reload brings serves those who wait for the others.
fn a_new_endpoint_serves_those_who_wait(mode: Mode) {
    let (one, other) = (Backend::echo(), Backend::echo());
    let config = |endpoints: &[SocketAddr]| {
        let list: Vec<_> = endpoints.iter().map(|a| format!("{{ address = \"{a}\", max_connections = 1 }}")).collect();
        let list = list.join(", ");
        format!("{SIXTEEN}{}[clusters.app]\nqueue = {{ size = 9 }}\nendpoints = [{list}]\n", web(""))
    };
    let mut rig = Rig::start(Mode { shards_per_core: 16, ..mode }, &config(&[one.address]));
    let address = rig.proxy.listening("web");
    let holder = served(address, 1);
    let late = dial(address).unwrap();
    waiting(&mut rig, 1);
    rig.reload(&config(&[one.address, other.address]));
    round_trip(&late, b"there is room").unwrap();
    assert_eq!((one.accepted(), other.accepted()), (1, 1));
    drop((holder, late));
    eventually("the end of all", || (rig.active() == 0).then_some(()));
}
scenario!(a_new_endpoint_serves_those_who_wait: uring, epoll);

/// An endpoint that is down and set aside is tried again while others wait for the one that is up, and failed connects
/// keep no permit.
fn a_failed_connect_keeps_no_permit(mode: Mode) {
    let backend = Counting::new();
    let config = format!(
        "{}[clusters.app]\nmax_connections = 4\nqueue = {{ size = 100 }}\nfail_timeout = \"20ms\"\nendpoints = [\n  \
         {{ address = \"{}\", max_connections = 2 }},\n  {{ address = \"{}\", max_connections = 3 }},\n]\n",
        web(""),
        nobody(),
        backend.address
    );
    let mut rig = sixteen(mode, &config);
    hammer(rig.proxy.listening("web"), 20, 20);
    assert!(backend.most() <= 3, "{} at once", backend.most());
    nothing_is_held(&mut rig, "cluster");
    nothing_is_held(&mut rig, "endpoint");
    rig.settled();
}
scenario!(a_failed_connect_keeps_no_permit: uring, epoll);

fn a_drain_with_a_queue_ends_in_time(mode: Mode) {
    let backend = Backend::echo();
    let more = "max_connections = 1\nqueue = { size = 9, timeout = \"1m\" }";
    let mut rig = sixteen(mode, &(web("max_connections = 3") + &cluster("app", &[backend.address], more)));
    let address = rig.proxy.listening("web");
    let holder = served(address, 1);
    let late: Vec<_> = (0..5).map(|_| dial(address).unwrap()).collect();
    waiting(&mut rig, 2);
    rig.proxy.signal("TERM");
    pause();
    drop((holder, late));
    assert_eq!(rig.proxy.wait().code(), Some(0));
}
scenario!(a_drain_with_a_queue_ends_in_time: uring, epoll);
