//! What the process says on standard output when it starts: what runs, where, and what to try.

use crate::{control::Control, source::Origin};
use balance_config::model::Address;
use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

/// A listener's name and one of its real addresses.
pub(super) type Listening = (Arc<str>, Address);

/// Everything that a start has to say.
pub(super) fn print_running(control: &Control, admin: &Address, origin: &Origin) {
    let listening = control.view().map(|v| v.listening.clone()).unwrap_or_default();
    let mut text = format!("balance-shard {}, configured by {}\n", crate::cli::VERSION, control.source_name());
    for (who, driver) in drivers(control) {
        text += &format!("  {who}: {driver}\n");
    }
    text += &lines(&listening);
    text += &format!("listening admin {admin}\n");
    if matches!(origin, Origin::Demo { .. }) {
        text += &try_this(&listening, admin);
    }
    print(&text);
}

/// One line an address: `listening web 127.0.0.1:43211`. Tests and scripts read them to learn a port that the kernel
/// chose.
fn lines(listening: &[Listening]) -> String {
    listening.iter().map(|(name, address)| format!("listening {name} {address}\n")).collect()
}

/// Standard output may be closed, which is no reason to stop serving.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Shards with the same driver share a line.
fn drivers(control: &Control) -> Vec<(String, String)> {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for link in control.fleet.links() {
        let info = link.driver();
        let driver = format!("{} ({})", info.name, info.features.join(", "));
        let core = link.core().map_or_else(|| "any core".to_owned(), |c| format!("core {c}"));
        let shard = format!("{} on {core}", link.shard());
        match groups.iter_mut().find(|(d, _)| *d == driver) {
            Some((_, shards)) => shards.push(shard),
            None => groups.push((driver, vec![shard])),
        }
    }
    let title = |shards: Vec<String>| {
        let noun = if shards.len() == 1 { "shard" } else { "shards" };
        format!("{noun} {}", shards.join(", "))
    };
    groups.into_iter().map(|(driver, shards)| (title(shards), driver)).collect()
}

fn try_this(listening: &[Listening], admin: &Address) -> String {
    let mut text = "try\n".to_owned();
    for (name, address) in listening {
        let Address::Ip(a) = address else { continue };
        let a = reachable(*a);
        text += &if name.contains("echo") {
            format!("  nc {} {}\n", a.ip(), a.port())
        } else {
            format!("  curl http://{a}/\n")
        };
    }
    text + &format!("  balance-shard status --admin {admin}\n")
}

/// An address to type for one that means every interface.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port())
    } else {
        address
    }
}
