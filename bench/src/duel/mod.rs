//! `balance-shard bench duel`: the same load through several proxies, one after the other, round by round.
//!
//! Reading order: `scenario` and `proxy` are the data files, `find` looks who is here, `turn` measures one of them
//! once; this file lets them take turns; `text` prints. What the turns come to is in `crate::results`.
//!
//! Each turn starts server, proxy and load anew as processes of their own: the load counts the proxy's CPU time, over
//! exactly the time in which it counts requests.

pub(crate) mod args;
pub(crate) mod find;
mod list;
mod proxy;
mod scenario;
mod template;
mod text;
mod turn;

pub(crate) use scenario::Protocol;
pub(crate) use text::{aligned, conditions, noise, sorted, with_spread};

use crate::{
    failure::Failure,
    machine, page, report,
    results::{self, Contest, Duel, Entrant, Missing, Round, Sample, Settings, Unit, WAITED_MAX},
};
use args::DuelArgs;
use balance_engine::{
    child::{self, Place, Priority},
    cores, netns,
};
use find::Found;
use proxy::Proxy;
use scenario::{DECISIVE, Scenario};
use std::fs;
use turn::{Fault, Ground};

/// One that fails so often at first is not tried again.
const FAILURES_MAX: usize = 2;

pub(crate) fn command(args: &DuelArgs) -> Result<(), Failure> {
    let known = known(args)?;
    if args.list {
        return report::print(&list::text(&Scenario::ours()?, &known, &args.bin)?);
    }
    let scenarios = scenarios(args)?;
    let (found, missing) = find_all(&chosen(args, &known)?, args)?;
    eprint!("{}", find::missing(&missing));
    if found.is_empty() {
        return Err(Failure::usage("nobody of those who were asked for is here"));
    }
    let (ground, settings) = ground(args)?;
    let mut duel = Duel {
        bench: "duel".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        commit: machine::COMMIT.map(ToOwned::to_owned),
        machine: machine::json(),
        settings,
        missing: missing.iter().map(named_as_missing).collect(),
        scenarios: Vec::new(),
    };
    eprint!("{}", text::announcement(&duel.settings, scenarios.len(), found.len()));
    for scenario in &scenarios {
        let contest = run(scenario, &found, &ground, args)?;
        duel.scenarios.push(contest);
        if !args.json {
            report::print(&text::table(&duel, duel.scenarios.len() - 1))?;
        }
        // After each scenario, so that what is interrupted is not lost.
        keep(&duel, args)?;
    }
    if args.json {
        report::print(&(text::json(&duel)? + "\n"))?;
    }
    verdict(&duel)
}

fn keep(duel: &Duel, args: &DuelArgs) -> Result<(), Failure> {
    if let Some(path) = &args.json_file {
        results::write(path, &(text::json(duel)? + "\n"))?;
    }
    match &args.html {
        Some(path) => results::write(path, &page::of_duel(duel)),
        None => Ok(()),
    }
}

/// # Errors
/// A duel in which somebody failed in every round: its table says who, and a script shall notice.
fn verdict(duel: &Duel) -> Result<(), Failure> {
    let failed = duel.scenarios.iter().flat_map(|contest| {
        let failed = contest.proxies.iter().filter(|entrant| entrant.failure().is_some());
        failed.map(move |entrant| format!("{} in {}", entrant.name, contest.name))
    });
    let failed: Vec<String> = failed.collect();
    if failed.is_empty() { Ok(()) } else { Err(Failure::runtime(format!("failed: {}", failed.join(", ")))) }
}

fn named_as_missing(proxy: &Proxy) -> Missing {
    Missing { proxy: proxy.name.clone(), program: proxy.program.clone(), get: proxy.get.clone() }
}

/// Every proxy there is, with the values that were asked for.
fn known(args: &DuelArgs) -> Result<Vec<Proxy>, Failure> {
    let mut known = proxy::all(args.proxy_files.as_deref())?;
    for (name, value) in &args.set {
        let taken = known.iter_mut().filter_map(|proxy| proxy.set(name, value).then_some(())).count();
        if taken == 0 {
            return Err(Failure::usage(format!("--set {name}: no proxy has a value of that name")));
        }
    }
    for given in &args.bin {
        if !known.iter().any(|proxy| proxy.name == given.name) {
            return Err(Failure::usage(format!("--bin {}: there is no such proxy; see --list", given.name)));
        }
    }
    Ok(known)
}

fn scenarios(args: &DuelArgs) -> Result<Vec<Scenario>, Failure> {
    match &args.scenarios[..] {
        [] => DECISIVE.iter().map(|name| Scenario::find(name)).collect(),
        named => named.iter().map(|name| Scenario::find(name)).collect(),
    }
}

/// Who shall take part, here or not.
fn chosen(args: &DuelArgs, known: &[Proxy]) -> Result<Vec<Proxy>, Failure> {
    if args.proxies.iter().any(|name| name == "all") {
        return Ok(known.to_vec());
    }
    if args.proxies.is_empty() {
        return Ok(known.iter().filter(|proxy| proxy.is_default).cloned().collect());
    }
    let by_name = |name: &String| {
        let proxy = known.iter().find(|proxy| proxy.name == *name);
        proxy.cloned().ok_or_else(|| {
            let names: Vec<&str> = known.iter().map(|proxy| proxy.name.as_str()).collect();
            Failure::usage(format!("--proxies: there is no `{name}`; there are: all, {}", names.join(", ")))
        })
    };
    args.proxies.iter().map(by_name).collect()
}

fn find_all(chosen: &[Proxy], args: &DuelArgs) -> Result<(Vec<Found>, Vec<Proxy>), Failure> {
    let (mut here, mut missing) = (Vec::new(), Vec::new());
    for proxy in chosen {
        match find::find(proxy, &args.bin)? {
            Some(found) => here.push(found),
            None => missing.push(proxy.clone()),
        }
    }
    Ok((here, missing))
}

/// Cores, priority and network, and what is to be printed about them.
fn ground(args: &DuelArgs) -> Result<(Ground, Settings), Failure> {
    let available = cores::available();
    let proxy_core = args.proxy_core.or_else(|| available.first().copied()).unwrap_or_default();
    let others: Vec<u16> = available.iter().copied().filter(|core| *core != proxy_core).collect();
    // One core alone has to do for everybody.
    let load_pool = if others.is_empty() { available.clone() } else { others };
    let load = cores::place(&args.load_cores, &load_pool, 1)
        .map_err(|e| Failure::usage(format!("--load-cores: {e} (core {proxy_core} is the proxy's)")))?;
    if !available.contains(&proxy_core) {
        let ranges = cores::Ranges(&available);
        return Err(Failure::usage(format!("--proxy-core {proxy_core} is not allowed here; there are: {ranges}")));
    }
    let (priority, priority_words) = priority(args.rt);
    let network = network(args.host_network);
    let settings = Settings {
        rounds: args.rounds,
        duration_s: args.duration.as_secs_f64(),
        warm_s: args.warm.as_secs_f64(),
        proxy_core,
        load_cores: load.shards.clone(),
        priority: priority_words,
        network,
        equal: proxy::EQUAL.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
    };
    // What this thread does meanwhile shall cost the proxy nothing. Where pinning fails it costs a little.
    let _ = load.shards.first().map(|core| cores::pin(*core));
    let place = |cores| Place { cores, priority };
    let ground =
        Ground { proxy: place(vec![proxy_core]), load: place(load.shards), duration: args.duration, warm: args.warm };
    Ok((ground, settings))
}

/// The best that is allowed, and what it is in words. This thread gets it too, or it could not look after the others.
fn priority(rt: bool) -> (Priority, String) {
    if !rt {
        return (Priority::Normal, "ordinary priority".into());
    }
    let Err(why) = child::run_before(Priority::RealTime) else { return (Priority::RealTime, "SCHED_RR".into()) };
    match child::run_before(Priority::Nice) {
        Ok(()) => (Priority::Nice, format!("nice -20 (SCHED_RR: {why})")),
        Err(_) => (Priority::Normal, format!("ordinary priority (neither SCHED_RR nor nice -20 is allowed: {why})")),
    }
}

/// Go into a network namespace of our own, if we may, and say in words where we are.
fn network(stay: bool) -> String {
    let congestion = || {
        let text = fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control").unwrap_or_default();
        text.trim().to_owned()
    };
    if stay {
        return format!("the machine's own loopback, {}", congestion());
    }
    match netns::enter() {
        Ok(()) => format!("a network namespace of its own, {}", congestion()),
        Err(e) => format!("the machine's own loopback, {} (a namespace of its own: {e})", congestion()),
    }
}

fn run(scenario: &Scenario, found: &[Found], ground: &Ground, args: &DuelArgs) -> Result<Contest, Failure> {
    let able: Vec<&Found> = found.iter().filter(|f| f.proxy.mode(scenario.protocol).is_some()).collect();
    let mut rounds: Vec<Vec<Round>> = vec![Vec::new(); able.len()];
    for round in 1..=args.rounds {
        for (found, rounds) in able.iter().zip(&mut rounds) {
            let hopeless = rounds.len() >= FAILURES_MAX && rounds.iter().all(|round| round.sample.is_none());
            let result = if hopeless {
                Err(rounds.last().and_then(|round| round.failed.clone()).unwrap_or_default())
            } else {
                quiet_turn(scenario, found, ground, args.retries)
            };
            eprintln!("{} round {round}/{} {}: {}", scenario.name, args.rounds, found.proxy.name, text::line(&result));
            rounds.push(match result {
                Ok(sample) => Round { failed: None, sample: Some(sample) },
                Err(fault) => Round { failed: Some(fault), sample: None },
            });
        }
    }
    let entrant = |(found, rounds): (&&Found, Vec<Round>)| Entrant {
        name: found.proxy.name.clone(),
        about: found.proxy.about.clone(),
        version: found.version.clone(),
        note: found.proxy.mode(scenario.protocol).and_then(|mode| mode.note.clone()),
        rounds,
    };
    let proxies: Vec<Entrant> = able.iter().zip(rounds).map(entrant).collect();
    Ok(Contest {
        name: scenario.name.clone(),
        about: scenario.about.clone(),
        protocol: scenario.protocol,
        unit: scenario.unit,
        server: scenario.server.clone(),
        load: scenario.load.clone(),
        reference: reference(args, &proxies)?,
        proxies,
    })
}

/// # Errors
/// One that was named and does not take part.
fn reference(args: &DuelArgs, proxies: &[Entrant]) -> Result<String, Failure> {
    let takes_part = |name: &str| proxies.iter().any(|entrant| entrant.name == name);
    match &args.reference {
        Some(name) if takes_part(name) => Ok(name.clone()),
        Some(name) => Err(Failure::usage(format!("--reference {name} does not take part"))),
        None if takes_part("haproxy") => Ok("haproxy".into()),
        None => Ok(proxies.first().map(|entrant| entrant.name.clone()).unwrap_or_default()),
    }
}

/// A turn in which nobody else had the proxy's core for long, or else the one in which it was shortest. That is chosen
/// by the wait alone, never by the figures.
fn quiet_turn(scenario: &Scenario, found: &Found, ground: &Ground, retries: u32) -> Result<Sample, Fault> {
    let Some(mode) = found.proxy.mode(scenario.protocol) else { return Err("it does not speak that".into()) };
    let mut best = turn::take(scenario, found, mode, ground)?;
    for _ in 0..retries {
        if best.waited <= WAITED_MAX || scenario.unit == Unit::Connection {
            break;
        }
        let again = turn::take(scenario, found, mode, ground)?;
        if again.waited < best.waited {
            best = again;
        }
    }
    Ok(best)
}
