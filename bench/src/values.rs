//! The values that flags take: addresses, sources, cores, sizes, times.

use balance_config::{cores, model::Cores, units};
use balance_engine::{cores::Request, driver::Target};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs},
    path::PathBuf,
    time::Duration,
};

/// All of 127.0.0.0/8 is this machine; more addresses than these are not needed for any number of ports.
const SOURCES_MAX: u32 = 65_000;

/// Where connections go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    Ip(SocketAddr),
    Unix(PathBuf),
}

impl Destination {
    /// From `source` where the family has such a thing.
    pub(crate) fn target(&self, source: Option<IpAddr>) -> Target {
        match self {
            Self::Ip(to) => Target::Ip { to: *to, from: source },
            Self::Unix(path) => Target::Unix(path.clone()),
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// `HOST:PORT` or `unix:/path`. A name is looked up now, and its first address taken.
pub(crate) fn destination(text: &str) -> Result<Destination, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return if path.starts_with('/') {
            Ok(Destination::Unix(path.into()))
        } else {
            Err("a unix socket is named by its whole path, as in unix:/run/balance/echo.sock".into())
        };
    }
    let address = text
        .to_socket_addrs()
        .map_err(|e| format!("{e} (write HOST:PORT or unix:/path)"))?
        .next()
        .ok_or("the name has no address")?;
    if address.port() == 0 {
        return Err("port 0 cannot be connected to".into());
    }
    Ok(Destination::Ip(address))
}

/// `IP:PORT`, or `:PORT` for every address of both families.
pub(crate) fn bind_address(text: &str) -> Result<SocketAddr, String> {
    let all = text.strip_prefix(':').and_then(|port| port.parse().ok());
    match all {
        Some(port) => Ok((Ipv6Addr::UNSPECIFIED, port).into()),
        None => text.parse().map_err(|_| "write IP:PORT, or :PORT for every address".to_owned()),
    }
}

/// How many source addresses: 127.0.0.1 and the ones that follow.
pub(crate) fn sources(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(count) if (1..=SOURCES_MAX).contains(&count) => Ok(count),
        _ => Err(format!("write a number from 1 to {SOURCES_MAX}")),
    }
}

/// The first `count` addresses of this machine's own network.
pub(crate) fn loopback_sources(count: u32) -> Vec<IpAddr> {
    let first = u32::from(Ipv4Addr::LOCALHOST);
    (first..first + count).map(|number| IpAddr::V4(number.into())).collect()
}

pub(crate) fn cores(text: &str) -> Result<Request, String> {
    match cores::parse(text) {
        Ok(Cores::Auto) => Ok(Request::Auto),
        Ok(Cores::List(list)) => Ok(Request::List(list)),
        Err(fault) => Err(fault.to_string()),
    }
}

pub(crate) fn size(text: &str) -> Result<u64, String> {
    match units::parse_size(text) {
        Ok(0) => Err("a message has at least one byte".into()),
        Ok(size) => Ok(size),
        Err(fault) => Err(fault.to_string()),
    }
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    units::parse_duration(text).map_err(|fault| fault.to_string())
}

/// Exchanges in a second; may be less than one.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let (number, factor) = match text.strip_suffix(['k', 'K']) {
        Some(number) => (number, 1e3),
        None => (text, 1.0),
    };
    match number.parse::<f64>() {
        Ok(rate) if (0.001..=1e9).contains(&(rate * factor)) => Ok(rate * factor),
        _ => Err("write how many a second, such as 5000 or 20k".into()),
    }
}

/// One that is some time, not none.
pub(crate) fn time_span(text: &str) -> Result<Duration, String> {
    match duration(text) {
        Ok(Duration::ZERO) => Err("it must be longer than nothing".into()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations() {
        assert_eq!(destination("127.0.0.1:80"), Ok(Destination::Ip(([127, 0, 0, 1], 80).into())));
        assert_eq!(destination("[::1]:80").map(|d| d.to_string()), Ok("[::1]:80".into()));
        assert_eq!(destination("unix:/a").map(|d| d.to_string()), Ok("unix:/a".into()));
        for wrong in ["", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:99999", "unix:a"] {
            assert!(destination(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn addresses_to_bind() {
        assert_eq!(bind_address("127.0.0.1:0"), Ok(([127, 0, 0, 1], 0).into()));
        assert_eq!(bind_address(":81").map(|a| a.to_string()), Ok("[::]:81".into()));
        for wrong in ["", "81", "localhost:81", ":x"] {
            assert!(bind_address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sources_follow_each_other_past_the_last_byte() {
        let all = loopback_sources(256);
        assert_eq!((all[0], all[255]), ([127, 0, 0, 1].into(), [127, 0, 1, 0].into()));
        assert!(sources("0").is_err() && sources("65001").is_err() && sources("a").is_err());
        assert_eq!(sources("4"), Ok(4));
    }

    #[test]
    fn sizes_and_times_are_some() {
        assert_eq!((size("64"), size("1KiB")), (Ok(64), Ok(1024)));
        assert!(size("0").is_err() && size("1kb").is_err());
        assert_eq!((time_span("2s"), duration("0s")), (Ok(Duration::from_secs(2)), Ok(Duration::ZERO)));
        assert!(time_span("0s").is_err() && duration("2").is_err());
    }

    #[test]
    fn rates() {
        assert_eq!((rate("5000"), rate("1.5k"), rate("0.5")), (Ok(5000.0), Ok(1500.0), Ok(0.5)));
        for wrong in ["0", "-1", "NaN", "inf", "1e10", "fast", "k"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn cores_as_the_proxy_takes_them() {
        assert_eq!(cores("auto"), Ok(Request::Auto));
        assert_eq!(cores("0-1"), Ok(Request::List(vec![0, 1])));
        assert!(cores("1-0").is_err());
    }
}
