//! Two tasks of one shard talk over a real socket.

use balance_engine::{
    Handle, Received,
    buf::{Budget, BufferPool, Class, Sizes},
    clock::Clock,
    driver::{StreamOptions, Target, uring},
    executor::{Admission, Limits},
    net::{Listener, connect},
    shard,
};
use std::{net::TcpListener, os::fd::OwnedFd, time::Duration};

fn handle() -> Handle {
    let pool = BufferPool::new(Sizes::default(), Budget::new(64 << 20));
    let features = uring::probe().expect("io_uring");
    let config = uring::UringConfig { features, ring_buffers: 256 };
    let driver = uring::UringDriver::new(config, pool.clone(), Clock::monotonic()).expect("a ring");
    Handle::new(Box::new(driver), pool, Limits::default(), Duration::from_secs(1))
}

#[test]
fn a_message_goes_there_and_back() {
    let handle = handle();
    let std = TcpListener::bind("127.0.0.1:0").expect("bind");
    let to = std.local_addr().expect("address");
    let mut listener = Listener::new(&handle, OwnedFd::from(std)).expect("adopt");
    let accepting = handle.clone();
    handle
        .spawn(Admission::Always, async move {
            let mut accepted = listener.accept().await.expect("accept");
            assert!(accepted.peer.socket_addr().expect("ip").ip().is_loopback());
            while let Received::Data(chunk) = accepted.socket.recv().await {
                accepted.socket.send_all(chunk.buffer, chunk.len).await.expect("send");
            }
            drop(accepting);
        })
        .expect("room");
    let client = handle.clone();
    let options = StreamOptions { nodelay: true, keepalive: Some(Duration::from_secs(60)) };
    let echoed = shard::block_on(&handle, async move {
        let mut socket = connect(&client, Target::Ip { to, from: None }, options).await.expect("connect");
        let mut buffer = client.pool().take(Class::Small).expect("buffer");
        buffer[..5].copy_from_slice(b"hello");
        socket.send_all(buffer, 5).await.expect("send");
        socket.shutdown();
        let Received::Data(chunk) = socket.recv().await else { panic!("no data") };
        let got = chunk.buffer[..chunk.len as usize].to_vec();
        assert!(matches!(socket.recv().await, Received::Eof));
        got
    })
    .expect("a healthy ring");
    assert_eq!(echoed, b"hello");
    shard::finish(&handle).expect("drained");
    let stats = handle.stats();
    assert_eq!((stats.ops_in_flight, stats.descriptors, stats.tasks.live), (0, 0, 0));
}
