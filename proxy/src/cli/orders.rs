//! `reload`, `drain` and `status`: what a person asks a running proxy.

use super::{
    args::{At, DrainArgs, Environment, StatusArgs},
    client::{Answer, Client},
    print, table,
};
use crate::{
    admin::{DrainAnswer, ReloadAnswer, status::Status},
    exit::{Exit, Failure},
};
use hyper::{Method, StatusCode};
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio::time::Instant;

/// How often a draining process is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Beyond its deadline, for shards to leave.
const LEAVE_WAIT: Duration = Duration::from_secs(10);

pub(super) fn reload(at: &At, env: &Environment) -> Result<(), Failure> {
    let answer = Client::new(at, env)?.ask(Method::POST, "/reload")?;
    let outcome: ReloadAnswer = decode(&answer)?;
    if let Some(reason) = outcome.reason {
        return Err(Failure::new(exit_of(outcome.exit), reason));
    }
    let mut text = format!("configuration version {} is in force\n", outcome.version.unwrap_or_default());
    for warning in &outcome.warnings {
        text += &format!("{warning}\n");
    }
    if !outcome.needs_restart.is_empty() {
        text += &format!("needs a restart to take effect: {}\n", outcome.needs_restart.join(", "));
    }
    if !outcome.lagging_shards.is_empty() {
        text += &format!("not yet running it: shards {:?}\n", outcome.lagging_shards);
    }
    print(&text)
}

fn exit_of(code: u8) -> Exit {
    let known = [Exit::Config, Exit::Permission, Exit::OsFeature, Exit::Unavailable];
    known.into_iter().find(|e| e.code() == code).unwrap_or(Exit::Runtime)
}

pub(super) fn drain(args: &DrainArgs, env: &Environment) -> Result<(), Failure> {
    let client = Client::new(&args.at, env)?;
    let path = match args.deadline {
        Some(deadline) => format!("/drain?deadline={}ms", deadline.as_millis()),
        None => "/drain".to_owned(),
    };
    let outcome: DrainAnswer = decode(&client.ask(Method::POST, &path)?)?;
    print(&format!("{}; it ends within {:.0} s\n", outcome.result, outcome.deadline_s.ceil()))?;
    if args.no_wait {
        return Ok(());
    }
    let left = Duration::try_from_secs_f64(outcome.deadline_s).unwrap_or(Duration::MAX);
    wait_for_end(&client, left.saturating_add(LEAVE_WAIT))
}

fn wait_for_end(client: &Client, wait: Duration) -> Result<(), Failure> {
    let start = Instant::now();
    while client.ask(Method::GET, "/healthz").is_ok() {
        if start.elapsed() > wait {
            return Err(Failure::runtime("the process is still there after its deadline"));
        }
        client.pause(LOOK_AGAIN);
    }
    print("it has ended\n")
}

pub(super) fn status(args: &StatusArgs, env: &Environment) -> Result<(), Failure> {
    let answer = Client::new(&args.at, env)?.ask(Method::GET, "/status")?;
    let status: Status = decode(&answer)?;
    if args.json {
        let text = String::from_utf8_lossy(&answer.body);
        return print(&format!("{}\n", text.trim_end()));
    }
    print(&table::status(&status))
}

/// An answer that is not ours comes from something else that listens there.
fn decode<T: DeserializeOwned>(answer: &Answer) -> Result<T, Failure> {
    serde_json::from_slice(&answer.body).map_err(|_| {
        let text = String::from_utf8_lossy(&answer.body[..answer.body.len().min(200)]).into_owned();
        let exit = if answer.status == StatusCode::NOT_FOUND { Exit::Unavailable } else { Exit::Runtime };
        Failure::new(exit, format!("an unexpected answer ({}): {}", answer.status, text.escape_debug()))
    })
}
