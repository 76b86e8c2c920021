//! The query string of `/connections`: which rows, how many.

use crate::report::{ConnectionFilter, ConnectionState};
use std::time::Duration;

pub(super) const ROWS_DEFAULT: usize = 1000;
/// An answer is built in memory, on the thread that also reloads.
const ROWS_MAX: usize = 100_000;

const NAMES: &str = "listener, cluster, endpoint, peer, state, idle_min, limit";
const STATES: [ConnectionState; 6] = [
    ConnectionState::Peeking,
    ConnectionState::Queued,
    ConnectionState::Connecting,
    ConnectionState::Open,
    ConnectionState::HalfClosedDownstream,
    ConnectionState::HalfClosedUpstream,
];

/// # Errors
/// A sentence that names what is allowed instead.
pub(super) fn connections(pairs: &[(String, String)]) -> Result<ConnectionFilter, String> {
    let mut filter = ConnectionFilter { limit: ROWS_DEFAULT, ..ConnectionFilter::default() };
    for (name, value) in pairs {
        match name.as_str() {
            "listener" => filter.listener = Some(value.clone()),
            "cluster" => filter.cluster = Some(value.clone()),
            "endpoint" => filter.endpoint = Some(value.clone()),
            "peer" => {
                let address = value.parse().map_err(|_| format!("peer: \"{value}\" is not an IP address"))?;
                filter.peer = Some(address);
            }
            "state" => filter.state = Some(state(value)?),
            "idle_min" => filter.idle_min = Some(duration(value)?),
            "limit" => filter.limit = limit(value)?,
            _ => return Err(format!("unknown parameter \"{name}\"; there are: {NAMES}")),
        }
    }
    Ok(filter)
}

fn state(value: &str) -> Result<String, String> {
    if STATES.iter().any(|s| s.as_str() == value) {
        return Ok(value.to_owned());
    }
    let known = STATES.map(ConnectionState::as_str).join(", ");
    Err(format!("state: \"{value}\" is none of: {known}"))
}

fn limit(value: &str) -> Result<usize, String> {
    match value.parse() {
        Ok(rows) if (1..=ROWS_MAX).contains(&rows) => Ok(rows),
        _ => Err(format!("limit: \"{value}\" is not a number from 1 to {ROWS_MAX}")),
    }
}

/// "250ms", "5s", "2m", "1h".
///
/// # Errors
/// A sentence with examples.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{text}\" is not a duration; write 250ms, 5s, 2m or 1h");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &[(&str, &str)]) -> Result<ConnectionFilter, String> {
        let pairs: Vec<_> = query.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
        connections(&pairs)
    }

    #[test]
    fn all_parameters_are_understood() {
        let filter =
            check(&[("listener", "web"), ("peer", "::1"), ("state", "open"), ("idle_min", "5s"), ("limit", "7")])
                .unwrap();
        assert_eq!(filter.listener.as_deref(), Some("web"));
        assert_eq!(filter.peer, Some("::1".parse().unwrap()));
        assert_eq!(filter.idle_min, Some(Duration::from_secs(5)));
        assert_eq!(filter.limit, 7);
        assert_eq!(check(&[]).unwrap().limit, ROWS_DEFAULT);
    }

    #[test]
    fn mistakes_are_answered_with_what_is_allowed() {
        assert!(check(&[("listner", "web")]).unwrap_err().contains("idle_min"));
        assert!(check(&[("state", "opened")]).unwrap_err().contains("half_closed_upstream"));
        for (name, value) in
            [("limit", "0"), ("limit", "x"), ("peer", "here"), ("idle_min", "5"), ("idle_min", "99999999999999999h")]
        {
            assert!(check(&[(name, value)]).is_err(), "{name}={value}");
        }
    }
}
