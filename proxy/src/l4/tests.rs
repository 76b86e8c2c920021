//! What the data path costs in allocations, on a real ring and real sockets, one shard on the test's own thread.

use super::accept_loop;
use crate::{
    snapshot::{Bind, BindId, Cluster, Endpoint, EndpointId, Listener, Snapshot},
    state::State,
};
use balance_config::model::{Address, Policy, SocketOptions};
use balance_engine::{
    Handle, Received,
    buf::{Budget, BufferPool, Class, Sizes},
    clock::Clock,
    driver::{StreamOptions, Target, uring},
    executor::{Admission, Limits},
    net::{self, Socket, connect},
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

fn snapshot(endpoint: SocketAddr) -> Arc<Snapshot> {
    let socket = SocketOptions { nodelay: true, keepalive: Some(Duration::from_secs(60)) };
    let endpoint = Arc::new(Endpoint { id: EndpointId(1), address: Address::Ip(endpoint), weight: 1 });
    let cluster = Arc::new(Cluster {
        name: "c".into(),
        policy: Policy::RoundRobin,
        endpoints: vec![endpoint],
        connect_timeout: Duration::from_secs(2),
        connect_attempts: 3,
        fail_timeout: Duration::from_secs(5),
        socket,
    });
    let bind = Bind { id: BindId(1), address: Address::Ip(SocketAddr::from(([127, 0, 0, 1], 0))) };
    let listener = Arc::new(Listener {
        name: "l".into(),
        binds: vec![bind],
        cluster: Arc::clone(&cluster),
        idle_timeout: Some(Duration::from_secs(60)),
        half_close_timeout: Some(Duration::from_secs(60)),
    });
    Arc::new(Snapshot { version: 1, listeners: vec![listener], clusters: vec![cluster] })
}

fn listening() -> (SocketAddr, OwnedFd) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    (listener.local_addr().expect("an address"), listener.into())
}

/// An echo backend and the proxy before it, on one shard.
fn world(handle: &Handle) -> (Rc<State>, SocketAddr) {
    let (backend, backend_fd) = listening();
    let mut listener = net::Listener::new(handle, backend_fd).expect("adopted");
    let spawner = handle.clone();
    let serve = async move {
        while let Ok(accepted) = listener.accept().await {
            let _admitted = spawner.spawn(Admission::Always, echo(accepted.socket));
        }
    };
    let _admitted = handle.spawn(Admission::Always, serve);
    let state = State::new(handle.clone(), 0, 0, 1);
    state.adopt(snapshot(backend));
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
    let (_state, front) = world(&handle);
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

/// Two of the proxy, for its task and for the connect phase, and one of the backend in this test. Tables grow by chunks,
/// now and then.
#[test]
fn a_connection_costs_a_handful_of_allocations() {
    const CONNECTIONS: u64 = 1000;
    /// And a tenth of one for growing tables.
    const EACH_MAX: f64 = 3.1;
    let handle = handle();
    let (state, front) = world(&handle);
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
