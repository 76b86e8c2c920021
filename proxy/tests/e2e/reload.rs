//! A new configuration under traffic: what did not change is not touched, what is gone finishes.

use crate::{
    common::{code, run, stderr},
    harness::{
        Mode, Rig, bind, cluster, dial, eventually, listener,
        pattern::{Pace, Side, exchange},
        peers::{Backend, read_text, round_trip},
        plain,
    },
};
use std::{io::Write, net::TcpStream, thread, time::Duration};

const MIB: u64 = 1 << 20;

/// 96 MiB each way while the configuration is loaded again and again, with and without changes.
fn a_reload_does_not_touch_a_transfer(mode: Mode) {
    let (backend, other) = (bind(), Backend::named("other"));
    let first = plain(backend.local_addr().unwrap());
    let mut rig = Rig::start(mode, &first);
    let port = rig.proxy.listening("web");
    let (client, server) = rig.pair(&backend);
    let side = Side {
        len: 96 * MIB,
        write: Pace::Brisk,
        read: Pace::Slow { piece: 256 << 10, rest: Duration::from_millis(2) },
    };
    thread::scope(|scope| {
        let transfer = scope.spawn(|| exchange(&client, side, &server, side));
        let mut turn = 0;
        while !transfer.is_finished() || turn < 6 {
            match turn % 3 {
                0 => rig.reload(&first),
                1 => rig
                    .reload(&(first.clone() + &listener("more", "more", "") + &cluster("more", &[other.address], ""))),
                // The endpoint of the transfer is gone.
                _ => rig.reload(&plain(other.address)),
            }
            assert_eq!(rig.address("web"), port);
            turn += 1;
        }
    });
    drop((client, server));
    rig.reload(&first);
    rig.settled();
    assert_eq!(rig.ended("finished"), 1);
}
scenario!(a_reload_does_not_touch_a_transfer: uring, epoll, uring_floor, uring_crowd);

fn a_removed_listener_refuses_and_its_connections_finish(mode: Mode) {
    let backend = Backend::echo();
    let both = plain(backend.address) + &listener("second", "app", "");
    let mut rig = Rig::start(mode, &both);
    let second = rig.address("second");
    let client = dial(second).unwrap();
    round_trip(&client, b"before").unwrap();
    rig.reload(&plain(backend.address));
    eventually("a refusal", || TcpStream::connect(second).is_err().then_some(()));
    round_trip(&client, b"after").unwrap();
    round_trip(&rig.connect(), b"the first one serves on").unwrap();
    drop(client);
    rig.reload(&both);
    let again = rig.address("second");
    round_trip(&dial(again).unwrap(), b"back").unwrap();
    rig.settled();
}
scenario!(a_removed_listener_refuses_and_its_connections_finish: uring, epoll, uring_floor, uring_crowd);

fn an_added_listener_serves_at_once(mode: Mode) {
    let backend = Backend::echo();
    let mut rig = Rig::start(mode, &plain(backend.address));
    rig.reload(&(plain(backend.address) + &listener("second", "app", "")));
    let second = rig.address("second");
    for _ in 0..20 {
        round_trip(&dial(second).unwrap(), b"hello").unwrap();
    }
    rig.reload(&plain(backend.address));
    rig.settled();
}
scenario!(an_added_listener_serves_at_once: uring, epoll, uring_floor, uring_crowd);

fn a_broken_configuration_changes_nothing(mode: Mode) {
    let backend = Backend::echo();
    let mut rig = Rig::start(mode, &plain(backend.address));
    let client = rig.connect();
    round_trip(&client, b"before").unwrap();
    assert_eq!(rig.metric("balance_config_last_reload_success"), 1.0);
    rig.write_config(&(plain(backend.address) + "polcy = 1\n"));
    let admin = rig.proxy.admin();
    let refused = run(&["reload", "--admin", &admin]);
    assert_eq!(code(&refused), 78);
    assert!(stderr(&refused).contains("`policy`"), "{}", stderr(&refused));
    assert_eq!(rig.metric("balance_config_last_reload_success"), 0.0);
    rig.proxy.signal("HUP");
    eventually("the second refusal", || {
        (rig.metric("balance_config_reloads_total{result=\"refused\"}") == 2.0).then_some(())
    });
    rig.proxy.says("reload refused");
    assert_eq!(rig.status()["config"]["version"], 1);
    round_trip(&client, b"after").unwrap();
    round_trip(&rig.connect(), b"new ones too").unwrap();
    rig.write_config(&plain(backend.address));
    assert_eq!(code(&run(&["reload", "--admin", &admin])), 0);
    assert_eq!(rig.metric("balance_config_last_reload_success"), 1.0);
    round_trip(&client, b"still").unwrap();
    drop(client);
    rig.settled();
}
scenario!(a_broken_configuration_changes_nothing: uring, epoll);

/// A new policy, new weights and a new time-out, for the connections after the reload.
fn changed_settings_take_effect(mode: Mode) {
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let config = |policy: &str, weight: u16| {
        format!(
            "[runtime]\ncores = [0]\n{}[clusters.app]\npolicy = \"{policy}\"\n\
             endpoints = [{{ address = \"{}\", weight = {weight} }}, \"{}\"]\n",
            listener("web", "app", ""),
            a.address,
            b.address
        )
    };
    let mut rig = Rig::start(mode, &config("round-robin", 3));
    let web = rig.proxy.listening("web");
    let twelve = || (0..12).map(|_| read_text(&dial(web).unwrap()).unwrap()).collect::<String>();
    assert_eq!(twelve(), "abababababab");
    rig.reload(&config("weighted-round-robin", 3));
    assert_eq!(twelve().matches('a').count(), 9);
    rig.reload(&config("weighted-round-robin", 5));
    assert_eq!(twelve().matches('a').count(), 10);
    rig.reload(&config("round-robin", 5));
    assert_eq!(twelve().matches('a').count(), 6);
    rig.settled();
}
scenario!(changed_settings_take_effect: uring, epoll);

fn a_changed_idle_timeout_holds_for_new_connections(mode: Mode) {
    let backend = Backend::echo();
    let mut rig = Rig::start(mode, &plain(backend.address));
    let old = rig.connect();
    round_trip(&old, b"x").unwrap();
    rig.reload(&(listener("web", "app", "idle_timeout = \"200ms\"") + &cluster("app", &[backend.address], "")));
    let new = rig.connect();
    round_trip(&new, b"x").unwrap();
    assert_eq!(crate::harness::pattern::end_of(&new), crate::harness::pattern::End::Reset);
    round_trip(&old, b"x").unwrap();
    drop(old);
    rig.settled();
    assert_eq!(rig.ended("idle_timeout"), 1);
}
scenario!(a_changed_idle_timeout_holds_for_new_connections: uring, epoll);

/// New clients come all the time; not one of them may notice ten reloads.
fn no_connection_is_lost_over_reloads(mode: Mode) {
    let backend = Backend::echo();
    let config = plain(backend.address);
    let mut rig = Rig::start(mode, &config);
    let web = rig.proxy.listening("web");
    let stop = std::sync::atomic::AtomicBool::new(false);
    let served = thread::scope(|scope| {
        let clients: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut served = 0;
                    while !stop.load(std::sync::atomic::Ordering::Acquire) {
                        round_trip(&dial(web).unwrap(), b"hello").unwrap();
                        served += 1;
                    }
                    served
                })
            })
            .collect();
        for turn in 0..10 {
            rig.reload(&(config.clone() + &format!("connect_timeout = \"{}s\"\n", 1 + turn)));
        }
        stop.store(true, std::sync::atomic::Ordering::Release);
        clients.into_iter().map(|c| c.join().unwrap()).sum::<u64>()
    });
    assert!(served > 10, "{served}");
    rig.settled();
    assert_eq!(rig.ended("finished"), served);
}
scenario!(no_connection_is_lost_over_reloads: uring, epoll, uring_floor, uring_crowd);

/// The endpoint is removed while a connection to it waits; it is not cut, and nobody new goes there.
fn connections_of_a_removed_endpoint_finish(mode: Mode) {
    let (old, new) = (Backend::echo(), Backend::named("new"));
    let mut rig = Rig::start(mode, &plain(old.address));
    let client = rig.connect();
    round_trip(&client, b"before").unwrap();
    rig.reload(&plain(new.address));
    for _ in 0..5 {
        assert_eq!(read_text(&rig.connect()).unwrap(), "new");
    }
    round_trip(&client, b"after").unwrap();
    (&client).write_all(b"bye").unwrap();
    drop(client);
    rig.settled();
    assert_eq!(old.accepted(), 1);
}
scenario!(connections_of_a_removed_endpoint_finish: uring, epoll, uring_floor);
