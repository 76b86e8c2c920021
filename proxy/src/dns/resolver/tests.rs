//! One question to a server that behaves as well or as badly as servers do.

use super::*;
use crate::dns::{
    name_server::{Manner, NameServer},
    names::ADDRESSES_MAX,
};
use balance_config::model::DnsFamily;

/// Short, because the tests of silence wait for it.
const TIMEOUT: Duration = Duration::from_millis(300);
/// Generous, for everything that does answer.
const PATIENCE: Duration = Duration::from_secs(20);

fn resolver(servers: &[SocketAddr], timeout: Duration) -> Resolver {
    Resolver::new(&model::Dns {
        servers: servers.to_vec(),
        ttl_min: Duration::from_secs(1),
        ttl_max: Duration::from_secs(300),
        timeout,
        family: DnsFamily::Any,
    })
}

async fn ask(server: &NameServer, name: &str, record: Record, timeout: Duration) -> Outcome {
    resolver(&[server.address()], timeout).ask(&Question::new(name, record)).await
}

fn addresses(of: &[&str], ttl_s: u64) -> Outcome {
    let mut addresses: Vec<_> = of.iter().map(|a| a.parse().unwrap()).collect();
    addresses.sort_unstable();
    Outcome::Addresses { addresses, ttl: Duration::from_secs(ttl_s) }
}

fn sorted(outcome: Outcome) -> Outcome {
    let Outcome::Addresses { mut addresses, ttl } = outcome else { return outcome };
    addresses.sort_unstable();
    Outcome::Addresses { addresses, ttl }
}

/// What asking for `app.test`, which has two addresses, gives.
async fn check(manner: Manner, timeout: Duration, expected: Outcome) {
    let server = NameServer::start(manner);
    server.set("app.test", &["10.0.0.1", "10.0.0.2"], 60);
    assert_eq!(sorted(ask(&server, "app.test", Record::A, timeout).await), expected, "{manner:?}");
}

#[tokio::test]
async fn every_manner_of_answering_has_its_result() {
    let good = || addresses(&["10.0.0.1", "10.0.0.2"], 60);
    check(Manner::Right, PATIENCE, good()).await;
    check(Manner::WrongThenRight, PATIENCE, good()).await;
    check(Manner::Truncated, PATIENCE, good()).await;
    check(Manner::ServFail, PATIENCE, Outcome::Failed(Verdict::ServFail)).await;
    check(Manner::Refused, PATIENCE, Outcome::Failed(Verdict::Refused)).await;
    check(Manner::NxDomain, PATIENCE, Outcome::Failed(Verdict::NxDomain)).await;
    check(Manner::Garbage, PATIENCE, Outcome::Failed(Verdict::BadAnswer)).await;
    check(Manner::TruncatedTwice, PATIENCE, Outcome::Failed(Verdict::BadAnswer)).await;
    check(Manner::Never, TIMEOUT, Outcome::Failed(Verdict::Timeout)).await;
    check(Manner::WrongId, TIMEOUT, Outcome::Failed(Verdict::Timeout)).await;
    check(Manner::WrongQuestion, TIMEOUT, Outcome::Failed(Verdict::Timeout)).await;
}

#[tokio::test]
async fn a_truncated_answer_whose_tcp_fails_is_a_failure() {
    let server = NameServer::start(Manner::TruncatedTcpFails);
    server.set("app.test", &["10.0.0.1"], 60);
    let outcome = ask(&server, "app.test", Record::A, PATIENCE).await;
    assert!(matches!(outcome, Outcome::Failed(Verdict::Unreachable | Verdict::BadAnswer)), "{outcome:?}");
    assert!(server.over_tcp() > 0);
}

#[tokio::test]
async fn a_late_answer_is_as_good_as_none_and_does_no_harm() {
    let server = NameServer::start(Manner::Late);
    server.set("app.test", &["10.0.0.1"], 60);
    let resolver = resolver(&[server.address()], TIMEOUT);
    let question = Question::new("app.test", Record::A);
    assert_eq!(resolver.ask(&question).await, Outcome::Failed(Verdict::Timeout));
    server.set("app.test", &["10.0.0.2"], 60);
    server.behave(Manner::Right);
    server.release();
    assert_eq!(resolver.ask(&question).await, addresses(&["10.0.0.2"], 60));
}

#[tokio::test]
async fn both_kinds_of_address_are_asked_for_by_themselves() {
    let server = NameServer::start(Manner::Right);
    server.set("app.test", &["10.0.0.1", "fd00::1"], 60);
    server.set("six.test", &["fd00::1"], 60);
    assert_eq!(ask(&server, "app.test", Record::A, PATIENCE).await, addresses(&["10.0.0.1"], 60));
    assert_eq!(ask(&server, "app.test", Record::Aaaa, PATIENCE).await, addresses(&["fd00::1"], 60));
    assert_eq!(ask(&server, "six.test", Record::A, PATIENCE).await, Outcome::Empty);
    assert_eq!(ask(&server, "none.test", Record::A, PATIENCE).await, Outcome::Failed(Verdict::NxDomain));
    // A dot at the end says that the name is whole.
    assert_eq!(ask(&server, "app.test.", Record::A, PATIENCE).await, addresses(&["10.0.0.1"], 60));
}

#[tokio::test]
async fn ttls_come_as_they_are_but_for_the_highest_bit() {
    let server = NameServer::start(Manner::Right);
    for (ttl, expected) in [(0, 0), (1, 1), (i32::MAX.cast_unsigned(), u64::from(TTL_MAX)), (1 << 31, 0)] {
        server.set("app.test", &["10.0.0.1"], ttl);
        let outcome = ask(&server, "app.test", Record::A, PATIENCE).await;
        let Outcome::Addresses { ttl, .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!(ttl.as_secs(), expected);
    }
}

#[tokio::test]
async fn a_huge_answer_comes_over_tcp() {
    let server = NameServer::start(Manner::Right);
    let many: Vec<String> = (0..4000_u32).map(|i| std::net::Ipv4Addr::from(0x0a00_0000 + i).to_string()).collect();
    server.set("big.test", &many.iter().map(String::as_str).collect::<Vec<_>>(), 60);
    let outcome = ask(&server, "big.test", Record::A, PATIENCE).await;
    let Outcome::Addresses { addresses, .. } = outcome else { panic!("{outcome:?}") };
    assert!(addresses.len() > ADDRESSES_MAX && server.over_tcp() == 1, "{}", addresses.len());
}

#[tokio::test]
async fn aliases_are_followed_and_circles_end() {
    let server = NameServer::start(Manner::Right);
    server.set("target.test", &["10.0.0.1"], 7);
    server.alias("app.test", "target.test");
    server.alias("a.test", "b.test");
    server.alias("b.test", "a.test");
    assert_eq!(ask(&server, "app.test", Record::A, PATIENCE).await, addresses(&["10.0.0.1"], 7));
    let circle = ask(&server, "a.test", Record::A, PATIENCE).await;
    assert_eq!(circle, Outcome::Empty);
    assert!(server.questions() < 30);
}

#[tokio::test]
async fn the_next_server_is_asked_when_one_is_no_help_and_first_from_then_on() {
    for manner in [Manner::Never, Manner::ServFail, Manner::Refused, Manner::Garbage] {
        let (bad, good) = (NameServer::start(manner), NameServer::start(Manner::Right));
        good.set("app.test", &["10.0.0.1"], 60);
        let resolver = resolver(&[bad.address(), good.address()], TIMEOUT);
        let question = Question::new("app.test", Record::A);
        assert_eq!(resolver.ask(&question).await, addresses(&["10.0.0.1"], 60), "{manner:?}");
        let asked = bad.questions();
        assert_eq!(resolver.ask(&question).await, addresses(&["10.0.0.1"], 60), "{manner:?}");
        assert_eq!(bad.questions(), asked, "{manner:?}");
    }
}

#[tokio::test]
async fn a_server_that_knows_of_no_such_name_is_believed() {
    let (first, second) = (NameServer::start(Manner::NxDomain), NameServer::start(Manner::Right));
    second.set("app.test", &["10.0.0.1"], 60);
    let resolver = resolver(&[first.address(), second.address()], PATIENCE);
    let outcome = resolver.ask(&Question::new("app.test", Record::A)).await;
    assert_eq!(outcome, Outcome::Failed(Verdict::NxDomain));
    assert_eq!(second.questions(), 0);
}
