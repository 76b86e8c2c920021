//! The data path on real sockets, one shard on the test's own thread: what it costs in allocations, and that no rung of
//! the ladder loses, repeats or reorders a byte.

mod routes;

use super::{Forward, LadderSettings, accept_loop};
use crate::{
    client_hello::Routes,
    guard::Guard,
    l4::Script,
    permits::{Calls, Limit, WaitList},
    report::{Reason, RungKind, RungReport},
    snapshot::{Bind, BindId, Cluster, Endpoint, EndpointId, Listener, Routing, Snapshot},
    state::{Identity, State},
};
use balance_config::model::{self, Address, Policy, ProxyProtocolVersion, Queue, SocketOptions, Untrusted};
use balance_engine::{
    Handle, Received,
    buf::{Budget, BufferPool, Class, Sizes},
    clock::Clock,
    driver::{Driver, StreamOptions, Target, epoll::EpollDriver, uring},
    executor::{Admission, Limits},
    net::{self, Socket, connect},
    rng::Rng,
    shard,
    testing::{CountingAllocator, allocations},
};
use std::{
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn handle() -> Handle {
    let pool = BufferPool::new(Sizes::default(), Budget::new(64 << 20));
    let config = uring::UringConfig { features: uring::probe().expect("io_uring"), ring_buffers: 256 };
    let driver = uring::UringDriver::new(config, pool.clone(), Clock::monotonic()).expect("a ring");
    Handle::new(Box::new(driver), pool, Limits::default(), Duration::from_secs(10))
}

/// What a test wants otherwise than usual.
#[derive(Clone, Default)]
struct Wishes {
    ladder: LadderSettings,
    guard: Arc<Guard>,
    proxy_protocol: Option<ProxyProtocolVersion>,
    routed: Option<Routed>,
}

/// A listener with routes, which lead to a cluster whose endpoint gets a header: so what the echo says tells the way.
#[derive(Clone)]
struct Routed {
    routes: Vec<model::Route>,
    peek: model::Peek,
    /// Connections that match no route go to the cluster without a header.
    has_default: bool,
}

fn snapshot(endpoint: SocketAddr, wishes: Wishes) -> Arc<Snapshot> {
    let socket = SocketOptions { nodelay: true, keepalive: Some(Duration::from_secs(60)) };
    let endpoint = |id| {
        Arc::new(Endpoint {
            id: EndpointId(id),
            address: Address::Ip(endpoint),
            weight: 1,
            max_connections: None,
            limit: Limit::new(None, WaitList::new()),
            idle_limit: Limit::new(None, WaitList::new()),
        })
    };
    let like = crate::control::fixture::cluster("", &[]);
    let cluster = |name: &str, id, proxy_protocol| {
        Arc::new(Cluster {
            name: name.into(),
            policy: Policy::RoundRobin,
            endpoints: vec![endpoint(id)],
            connect_timeout: Duration::from_secs(2),
            connect_attempts: 3,
            fail_timeout: Duration::from_secs(5),
            max_connections: None,
            limit: Limit::new(None, WaitList::new()),
            idle_limit: Limit::new(None, WaitList::new()),
            queue: Queue { size: 0, timeout: Duration::from_secs(5) },
            pool: like.pool,
            timeouts: like.timeouts,
            retry: like.retry,
            socket,
            proxy_protocol,
        })
    };
    let own = cluster("c", 1, wishes.proxy_protocol);
    let behind = cluster("r", 2, Some(ProxyProtocolVersion::V1));
    let has_own = wishes.routed.as_ref().is_none_or(|routed| routed.has_default);
    let routing = wishes.routed.map(|routed| {
        let clusters = vec![Arc::clone(&behind); routed.routes.len()];
        Arc::new(Routing { routes: Routes::compile(&routed.routes), clusters, peek: routed.peek })
    });
    let bind = Bind { id: BindId(1), address: Address::Ip(SocketAddr::from(([127, 0, 0, 1], 0))) };
    let listener = Arc::new(Listener {
        per_ip: None,
        name: "l".into(),
        binds: vec![bind],
        cluster: has_own.then(|| Arc::clone(&own)),
        routing,
        http: None,
        max_connections: None,
        limit: Limit::new(None, WaitList::new()),
        idle_timeout: Some(Duration::from_secs(60)),
        half_close_timeout: Some(Duration::from_secs(60)),
        ladder: wishes.ladder,
        guard: wishes.guard,
    });
    Arc::new(Snapshot { version: 1, listeners: vec![listener], clusters: vec![own, behind] })
}

fn listening() -> (SocketAddr, OwnedFd) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    (listener.local_addr().expect("an address"), listener.into())
}

/// An echo backend and the proxy before it, on one shard.
fn world(handle: &Handle, wishes: Wishes) -> (Rc<State>, SocketAddr) {
    let (backend, backend_fd) = listening();
    let mut listener = net::Listener::new(handle, backend_fd).expect("adopted");
    let spawner = handle.clone();
    let serve = async move {
        while let Ok(accepted) = listener.accept().await {
            let _admitted = spawner.spawn(Admission::Always, echo(accepted.socket));
        }
    };
    let _admitted = handle.spawn(Admission::Always, serve);
    let state = State::new(handle.clone(), Identity::of_test(1), Calls::new(None), None);
    state.adopt(snapshot(backend, wishes));
    let (front, front_fd) = listening();
    let listener = net::Listener::new(handle, front_fd).expect("adopted");
    let named = state.listener_named("l").expect("in the snapshot");
    let _admitted = handle.spawn(Admission::Always, accept_loop(Rc::clone(&state), named, listener));
    (state, front)
}

async fn echo(mut socket: Socket) {
    while let Received::Data(chunk) = socket.recv().await {
        if socket.send_all(chunk.buffer, chunk.len).await.is_err() {
            return;
        }
    }
}

async fn exchange(handle: &Handle, socket: &mut Socket) {
    let buffer = handle.pool().take(Class::Small).expect("a buffer");
    socket.send_all(buffer, 64).await.expect("sent");
    let mut got = 0;
    while got < 64 {
        let Received::Data(chunk) = socket.recv().await else { panic!("the echo ended") };
        got += chunk.len;
    }
}

async fn open(handle: &Handle, front: SocketAddr) -> Socket {
    let options = StreamOptions { nodelay: true, keepalive: None };
    connect(handle, Target::Ip { to: front, from: None }, options).await.expect("connected")
}

/// Client, proxy and backend together allocate nothing while messages go back and forth, so the proxy does not.
#[test]
fn a_forwarded_chunk_allocates_nothing() {
    let handle = handle();
    let (_state, front) = world(&handle, Wishes::default());
    let inner = handle.clone();
    let spent = shard::block_on(&handle, async move {
        let mut socket = open(&inner, front).await;
        for _ in 0..500 {
            exchange(&inner, &mut socket).await;
        }
        let before = allocations();
        for _ in 0..2000 {
            exchange(&inner, &mut socket).await;
        }
        allocations() - before
    });
    assert_eq!(spent.expect("the ring works"), 0);
    shard::finish(&handle).expect("drained");
}

/// Two of the proxy, for its task and for the connect phase, and one of the backend in this test. Tables grow by
/// chunks, now and then.
#[test]
fn a_connection_costs_a_handful_of_allocations() {
    const CONNECTIONS: u64 = 1000;
    /// And a tenth of one for growing tables.
    const EACH_MAX: f64 = 3.1;
    let handle = handle();
    let (state, front) = world(&handle, Wishes::default());
    let inner = handle.clone();
    let spent = shard::block_on(&handle, async move {
        for _ in 0..100 {
            let mut socket = open(&inner, front).await;
            exchange(&inner, &mut socket).await;
        }
        let before = allocations();
        for _ in 0..CONNECTIONS {
            let mut socket = open(&inner, front).await;
            exchange(&inner, &mut socket).await;
        }
        allocations() - before
    });
    let each = spent.expect("the ring works") as f64 / CONNECTIONS as f64;
    println!("{each:.2} allocations a connection, client and backend included");
    assert!(each <= EACH_MAX, "{each} allocations a connection");
    shard::finish(&handle).expect("drained");
    assert!(state.table.borrow().is_empty());
}

/// Byte number `at` of what a client sends.
fn pattern(at: u64) -> u8 {
    (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

/// Send `total` bytes in bursts of random sizes, then close the write half; take everything that comes back, as slowly
/// as `patience` demands. Returns how much came back and whether each byte was the right one.
async fn converse(handle: Handle, front: SocketAddr, total: u64, seed: u64) -> (u64, bool) {
    let mut rng = Rng::new(seed);
    let mut socket = open(&handle, front).await;
    let (mut sent, mut got, mut right) = (0, 0, true);
    let mut burst = 0_u64;
    let mut spare = handle.pool().take(Class::Large);
    std::future::poll_fn(move |cx| {
        loop {
            let mut moved = false;
            if socket.is_sending() {
                if let std::task::Poll::Ready(done) = socket.poll_sent(cx) {
                    sent += u64::from(done.result.expect("the echo takes all"));
                    spare = Some(done.buffer);
                    moved = true;
                    if sent == total {
                        socket.shutdown();
                    }
                }
            } else if sent < total && (burst > 0 || got == sent || rng.chance(1, 4)) {
                if burst == 0 {
                    burst = [1, 64, 4096, 70_000, 1 << 20][rng.index(5)].min(total - sent);
                }
                let mut buffer = spare.take().expect("not sending");
                let len = burst.min(buffer.len() as u64).min(total - sent);
                for (i, byte) in buffer[..len as usize].iter_mut().enumerate() {
                    *byte = pattern(sent + i as u64);
                }
                burst -= len;
                socket.start_send(buffer, 0, len as u32);
                moved = true;
            }
            match socket.poll_recv(cx) {
                std::task::Poll::Ready(Received::Data(chunk)) => {
                    let bytes = &chunk.buffer[..chunk.len as usize];
                    right &= bytes.iter().zip(got..).all(|(byte, at)| *byte == pattern(at));
                    got += bytes.len() as u64;
                    moved = true;
                }
                std::task::Poll::Ready(Received::Eof) => return std::task::Poll::Ready((got, right)),
                std::task::Poll::Ready(Received::Failed(errno)) => panic!("failed after {got} bytes: {errno}"),
                std::task::Poll::Pending => {}
            }
            if !moved {
                return std::task::Poll::Pending;
            }
        }
    })
    .await
}

/// What a client sends in all, and gets back meanwhile.
const TOTAL: u64 = 24 << 20;
const LARGE_TOTAL: u64 = 256 << 20;

fn every_byte_comes_back(driver: impl Fn(BufferPool) -> Box<dyn Driver>, forward: Forward) {
    comes_back(driver, forward, TOTAL, 3);
}

/// Returns what the rungs did.
fn comes_back(
    driver: impl Fn(BufferPool) -> Box<dyn Driver>,
    forward: Forward,
    total: u64,
    seeds: u64,
) -> [RungReport; RungKind::ALL.len()] {
    let pool = BufferPool::new(Sizes::default(), Budget::new(64 << 20));
    let driver = driver(pool.clone());
    let handle = Handle::new(driver, pool, Limits::default(), Duration::from_secs(10));
    let ladder = LadderSettings { forward, zc_min: 1, ..LadderSettings::default() };
    let (state, front) = world(&handle, Wishes { ladder, ..Wishes::default() });
    for seed in 0..seeds {
        let client = converse(handle.clone(), front, total, seed);
        let (got, right) = shard::block_on(&handle, client).expect("the driver works");
        assert_eq!((got, right), (total, true), "{forward:?}, seed {seed}");
    }
    let rungs = state.report().rungs;
    if let Forward::Always(rung) = forward {
        assert!(rungs[rung as usize].bytes > total, "{rung:?} was not used");
    }
    shard::finish(&handle).expect("drained");
    assert!(state.table.borrow().is_empty());
    assert_eq!(handle.stats().pipes.in_use, 0);
    assert_eq!(handle.stats().descriptors, 0);
    rungs
}

fn ring(without: &[uring::Feature]) -> impl Fn(BufferPool) -> Box<dyn Driver> {
    let features = uring::probe().expect("io_uring").minus(without);
    move |pool| {
        let config = uring::UringConfig { features, ring_buffers: 256 };
        Box::new(uring::UringDriver::new(config, pool, Clock::monotonic()).expect("a ring"))
    }
}

fn epoll(pool: BufferPool) -> Box<dyn Driver> {
    Box::new(EpollDriver::new(pool, Clock::monotonic()).expect("epoll"))
}

#[test]
fn no_rung_loses_a_byte_on_a_ring() {
    for rung in RungKind::ALL {
        every_byte_comes_back(ring(&[]), Forward::Always(rung));
    }
}

#[test]
fn no_rung_loses_a_byte_on_a_ring_without_direct_descriptors_and_bundles() {
    for rung in RungKind::ALL {
        every_byte_comes_back(ring(&[uring::Feature::Direct, uring::Feature::Bundle]), Forward::Always(rung));
    }
}

#[test]
fn no_rung_loses_a_byte_on_epoll() {
    for rung in RungKind::ALL {
        every_byte_comes_back(epoll, Forward::Always(rung));
    }
}

#[test]
fn changing_rungs_loses_no_byte() {
    every_byte_comes_back(ring(&[]), Forward::Auto);
    every_byte_comes_back(epoll, Forward::Auto);
}

/// From each rung to each other and back, every few steps: 256 MiB up and down at once.
fn every_change_keeps_every_byte(driver: impl Fn(BufferPool) -> Box<dyn Driver>) {
    for from in RungKind::ALL {
        for to in RungKind::ALL.into_iter().filter(|to| *to as usize > from as usize) {
            let script = Script::Between { rungs: [from, to], steps: 40 };
            let rungs = comes_back(&driver, Forward::Scripted(script), LARGE_TOTAL, 1);
            for rung in [from, to] {
                let RungReport { entered, bytes, .. } = rungs[rung as usize];
                assert!(entered > 50 && bytes > LARGE_TOTAL / 20, "{from:?} and {to:?}: {rungs:?}");
            }
        }
    }
}

#[test]
fn every_change_of_rung_keeps_every_byte_on_a_ring() {
    every_change_keeps_every_byte(ring(&[]));
}

#[test]
fn every_change_of_rung_keeps_every_byte_on_a_plain_ring() {
    every_change_keeps_every_byte(ring(&[uring::Feature::Direct, uring::Feature::Bundle]));
}

#[test]
fn every_change_of_rung_keeps_every_byte_on_epoll() {
    every_change_keeps_every_byte(epoll);
}

#[test]
fn changes_at_random_keep_every_byte() {
    for seed in 0..3 {
        let script = Script::AtRandom { seed, one_in: 50 };
        comes_back(ring(&[]), Forward::Scripted(script), LARGE_TOTAL, 1);
        comes_back(epoll, Forward::Scripted(script), LARGE_TOTAL, 1);
    }
}

/// A listener's rules, from what the configuration says.
fn guard(change: impl FnOnce(&mut model::Listener)) -> Arc<Guard> {
    let mut listener = crate::control::fixture::listener("l", &["127.0.0.1:0"], "c");
    change(&mut listener);
    Arc::new(Guard::new(&listener))
}

fn loopback(prefix: u8) -> model::Network {
    model::Network { address: [127, 0, 0, 0].into(), prefix }
}

fn trusting(trusted: model::Network, untrusted: Untrusted) -> Arc<Guard> {
    let timeout = Duration::from_millis(200);
    guard(|l| l.proxy_protocol = Some(model::ProxyProtocolIn { trusted: vec![trusted], untrusted, timeout }))
}

/// Send these pieces, one after the other has gone out, and take what comes back until the end.
async fn say(
    handle: Handle,
    front: SocketAddr,
    pieces: Vec<Vec<u8>>,
) -> Result<Vec<u8>, balance_engine::driver::Errno> {
    let mut socket = open(&handle, front).await;
    for piece in pieces {
        let mut buffer = handle.pool().take(Class::Small).expect("a buffer");
        buffer[..piece.len()].copy_from_slice(&piece);
        socket.send_all(buffer, piece.len() as u32).await?;
    }
    socket.shutdown();
    let mut got = Vec::new();
    loop {
        match socket.recv().await {
            Received::Data(chunk) => got.extend_from_slice(&chunk.buffer[..chunk.len as usize]),
            Received::Eof => return Ok(got),
            Received::Failed(errno) => return Err(errno),
        }
    }
}

/// What the echo backend says to a client that says `pieces`, and the reasons of all endings.
fn told(wishes: Wishes, pieces: &[&[u8]]) -> (Option<String>, Vec<Reason>) {
    let (got, reasons) = told_bytes(wishes, pieces);
    (got.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()), reasons)
}

fn told_bytes(wishes: Wishes, pieces: &[&[u8]]) -> (Option<Vec<u8>>, Vec<Reason>) {
    let handle = handle();
    let (state, front) = world(&handle, wishes);
    let pieces = pieces.iter().map(|p| p.to_vec()).collect();
    let got = shard::block_on(&handle, say(handle.clone(), front, pieces)).expect("the ring works");
    let waiting = Rc::clone(&state);
    let settled = std::future::poll_fn(move |cx| {
        if waiting.table.borrow().is_empty() {
            return std::task::Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    });
    shard::block_on(&handle, settled).expect("the ring works");
    let endings = state.report().endings;
    shard::finish(&handle).expect("drained");
    let reasons = endings.into_iter().filter(|(_, count)| *count > 0).map(|(reason, _)| reason).collect();
    (got.ok(), reasons)
}

#[test]
fn an_endpoint_gets_the_proxy_header_that_it_wants() {
    let wishes = Wishes { proxy_protocol: Some(ProxyProtocolVersion::V1), ..Wishes::default() };
    let (got, reasons) = told(wishes, &[b"hello"]);
    let got = got.expect("echoed");
    assert!(got.starts_with("PROXY TCP4 127.0.0.1 127.0.0.1 ") && got.ends_with("\r\nhello"), "{got:?}");
    assert_eq!(reasons, [Reason::Finished]);
}

#[test]
fn a_trusted_header_is_taken_at_every_cut_and_passed_on() {
    let header = b"PROXY TCP4 192.0.2.7 198.51.100.1 4000 443\r\nhello";
    for cut in 1..header.len() {
        let wishes = Wishes {
            guard: trusting(loopback(8), Untrusted::Reject),
            proxy_protocol: Some(ProxyProtocolVersion::V1),
            ..Wishes::default()
        };
        let (got, reasons) = told(wishes, &[&header[..cut], &header[cut..]]);
        assert_eq!(got.as_deref(), std::str::from_utf8(header).ok(), "cut at {cut}");
        assert_eq!(reasons, [Reason::Finished]);
    }
}

#[test]
fn headers_that_are_wrong_late_or_untrusted_are_refused() {
    let strict = || Wishes { guard: trusting(loopback(8), Untrusted::Reject), ..Wishes::default() };
    let elsewhere = model::Network { address: [192, 0, 2, 0].into(), prefix: 24 };
    assert_eq!(told(strict(), &[b"GET / HTTP/1.1\r\n"]), (None, vec![Reason::BadPreface]));
    assert_eq!(told(strict(), &[b"PROXY TCP4 1.2.3.4"]), (None, vec![Reason::BadPreface]), "cut off by the end");
    let untrusted = Wishes { guard: trusting(elsewhere, Untrusted::Reject), ..Wishes::default() };
    assert_eq!(told(untrusted, &[b"hello"]), (None, vec![Reason::Untrusted]));
    let plain = Wishes { guard: trusting(elsewhere, Untrusted::Plain), ..Wishes::default() };
    assert_eq!(told(plain, &[b"PROXY TCP4 \r\n"]), (Some("PROXY TCP4 \r\n".into()), vec![Reason::Finished]));
}

#[test]
fn the_lists_look_at_the_client_behind_the_proxy() {
    let denied = model::Network { address: [192, 0, 2, 7].into(), prefix: 32 };
    let behind = guard(|l| {
        let timeout = Duration::from_secs(1);
        let trusted = vec![loopback(8)];
        l.proxy_protocol = Some(model::ProxyProtocolIn { trusted, untrusted: Untrusted::Reject, timeout });
        l.deny = vec![denied];
    });
    let wishes = || Wishes { guard: Arc::clone(&behind), ..Wishes::default() };
    let (got, reasons) = told(wishes(), &[b"PROXY TCP4 192.0.2.7 198.51.100.1 4000 443\r\nhello"]);
    assert_eq!((got, reasons), (None, vec![Reason::Denied]));
    let (got, _) = told(wishes(), &[b"PROXY TCP4 192.0.2.8 198.51.100.1 4000 443\r\nhello"]);
    assert_eq!(got.as_deref(), Some("hello"));
    let only = Wishes { guard: guard(|l| l.allow = vec![denied]), ..Wishes::default() };
    assert_eq!(told(only, &[b"hello"]), (None, vec![Reason::Denied]));
}
