use super::*;
use crate::{
    control::fixture::{cluster, config, listener},
    snapshot::{Ids, bind_plans, compile},
};
use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::{UnixListener, UnixStream},
};

fn plans(binds: &[&str]) -> Vec<BindPlan> {
    let c = config(vec![listener("web", binds, "app")], vec![cluster("app", &[])]);
    bind_plans(&c, &compile(&c, None, &mut Ids::default()))
}

fn ip(opened: &Opened) -> SocketAddr {
    match &opened.bound.address {
        Address::Ip(a) => *a,
        Address::Unix(p) => panic!("{}", p.display()),
    }
}

fn scratch(name: &str) -> std::path::PathBuf {
    let dir = std::env::temp_dir().join(format!("balance-listen-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    dir.join("s.sock")
}

#[tokio::test]
async fn every_shard_gets_a_socket_on_the_port_that_the_first_one_picked() {
    let opened = open_missing(&plans(&["127.0.0.1:0"]), &[], 3).await.unwrap();
    assert_eq!(opened[0].descriptors.len(), 3);
    assert_ne!(ip(&opened[0]).port(), 0);
    TcpStream::connect(ip(&opened[0])).unwrap();
    for descriptor in &opened[0].descriptors {
        let socket: TcpListener = descriptor.try_clone().unwrap().into();
        assert_eq!(socket.local_addr().unwrap(), ip(&opened[0]));
    }
}

#[tokio::test]
async fn a_port_that_another_process_shares_generously_is_still_in_use() {
    // A peer that set SO_REUSEPORT itself: the kernel would let us in beside it.
    let first = open_missing(&plans(&["127.0.0.1:0"]), &[], 1).await.unwrap();
    let address = ip(&first[0]);
    let error = open_missing(&plans(&[&address.to_string()]), &[], 1).await.unwrap_err().to_string();
    assert!(error.contains("listener \"web\" cannot listen on"), "{error}");
    assert!(error.contains(&format!("port {} is held by", address.port())), "{error}");
}

#[tokio::test]
async fn our_own_socket_does_not_count_as_foreign() {
    let first = open_missing(&plans(&["127.0.0.1:0"]), &[], 1).await.unwrap();
    let address = ip(&first[0]);
    let bound: Vec<Bound> = first
        .into_iter()
        .map(|o| {
            // The descriptors live on as those of a running shard would.
            std::mem::forget(o.descriptors);
            Bound { id: BindId(77), ..o.bound }
        })
        .collect();
    let again = open_missing(&plans(&[&address.to_string()]), &bound, 2).await.unwrap();
    assert_eq!(ip(&again[0]), address);
}

#[tokio::test]
async fn a_predecessor_that_lets_go_soon_is_waited_for() {
    let predecessor = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = predecessor.local_addr().unwrap();
    let wanted = plans(&[&address.to_string()]);
    let opening = open_missing(&wanted, &[], 1);
    let leaving = async {
        // tidy: sleep because a predecessor that leaves late is what this stands for
        tokio::time::sleep(std::time::Duration::from_millis(120)).await;
        drop(predecessor);
    };
    let (opened, ()) = tokio::join!(opening, leaving);
    assert_eq!(ip(&opened.unwrap()[0]), address);
}

#[tokio::test]
async fn one_address_twice_is_refused() {
    let error = open_missing(&plans(&["127.0.0.1:7", "127.0.0.1:7"]), &[], 1).await.unwrap_err();
    assert!(error.to_string().contains("it names the address twice"), "{error}");
}

#[tokio::test]
async fn a_stale_unix_socket_is_replaced_and_removed_at_the_end() {
    let path = scratch("stale");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let opened = open_missing(&plans(&[&format!("unix:{}", path.display())]), &[], 2).await.unwrap();
    UnixStream::connect(&path).unwrap();
    assert_eq!(opened[0].descriptors.len(), 2);
    drop(opened);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_live_unix_socket_and_an_ordinary_file_are_left_alone() {
    let path = scratch("live");
    let live = UnixListener::bind(&path).unwrap();
    let wanted = plans(&[&format!("unix:{}", path.display())]);
    let error = open_missing(&wanted, &[], 1).await.unwrap_err().to_string();
    assert!(error.contains("another process serves this socket"), "{error}");
    drop(live);
    std::fs::remove_file(&path).unwrap();

    std::fs::write(&path, "precious").unwrap();
    let error = open_missing(&wanted, &[], 1).await.unwrap_err().to_string();
    assert!(error.contains("not a socket"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}
