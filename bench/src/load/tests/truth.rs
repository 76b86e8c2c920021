//! Figures against delays that are known, in simulated time: rate and percentiles are to be within one percent of what
//! the delays say. The simulated network takes its time, too, some tens of microseconds and now and then two
//! milliseconds, so the delays are long.

use super::{
    super::shard::{LoadInbox, Place, Shard},
    http::{asking, form},
    *,
};
use crate::peers::{listen_on, stall::Stall};
use balance_engine::{
    Handle,
    buf::{Budget, BufferPool, Sizes},
    clock::Timestamp,
    driver::sim::{Faults, SimNet},
    executor::Limits,
    shard::{Inbox, finish, step},
};

const LIMITS: Limits = Limits { max_tasks: 1 << 16, queue_size: 0, budget: 32 };
/// Of the world's turns; beyond, it runs in circles.
const TURNS_MAX: u64 = 30_000_000;

/// A server stands still from one moment of the measured time to another.
#[derive(Clone, Copy)]
struct StallAt(Duration, Duration);

fn host(net: &SimNet) -> Handle {
    let pool = BufferPool::new(Sizes::default(), Budget::new(1 << 30));
    let driver = Box::new(net.driver(pool.clone(), Faults::NONE));
    Handle::new(driver, pool, LIMITS, Duration::from_secs(10))
}

/// A load of one shard on a server of one shard, until it is over.
fn simulate(path: &str, change: impl FnOnce(Plan) -> Plan, stall_at: Option<StallAt>) -> Series {
    let net = SimNet::new(7);
    let (server, client) = (host(&net), host(&net));
    let socket = TcpListener::bind("127.0.0.1:0").expect("an address of our own");
    let to = socket.local_addr().expect("address");
    let stall = Stall::default();
    listen_on(&server, 0, vec![(Kind::Http, socket.into())], &stall).expect("a server");
    let plan = Arc::new(change(asking(form(), 1, &[path], to)));
    let (events, heard) = mpsc::channel();
    let shard = Shard::new(&client, Arc::clone(&plan), Place { shard: 0, shards: 1 });
    Shard::spawn_all(&shard).expect("room for all");
    let mut inbox = LoadInbox::new(&shard, events);
    let mut series = Series::new(1);
    let mut stall_from = None;
    for _ in 0..TURNS_MAX {
        step(&server, None).expect("a driver that works");
        let now = step(&client, None).expect("a driver that works");
        let over = inbox.after_turn().is_break();
        for event in heard.try_iter() {
            match event {
                Event::Opened { .. } => {
                    let _ = inbox.handle(Message::Begin(now));
                    stall_from = stall_at.map(|StallAt(from, _)| now + plan.warm + from);
                }
                Event::Counted(Part { second: None, tally, .. }) => series.add_before(&tally),
                Event::Counted(Part { second: Some(second), tally, .. }) => {
                    let _ = series.add(0, second, &tally, || None);
                }
                _ => {}
            }
        }
        if let Some((from, StallAt(_, lasts))) = stall_from.zip(stall_at)
            && now >= from
        {
            stall.begin(now, Timestamp::from_nanos(from.as_nanos()) + lasts);
            stall_from = None;
        }
        if over {
            let measured = series.total.measured;
            series.finish(measured);
            finish(&client).expect("everything comes back");
            finish(&server).expect("everything comes back");
            return series;
        }
    }
    panic!("it does not end");
}

#[track_caller]
fn within_a_percent(what: &str, measured: f64, expected: f64) {
    assert!((measured / expected - 1.0).abs() <= 0.01, "{what}: {measured} is not within 1 % of {expected}");
}

#[track_caller]
fn quantiles(histogram: &hdrhistogram::Histogram<u64>, expected_ms: &[(f64, f64)]) {
    for (quantile, ms) in expected_ms {
        let measured = histogram.value_at_quantile(*quantile) as f64 / 1e6;
        within_a_percent(&format!("p{}", quantile * 100.0), measured, *ms);
    }
}

fn rate(series: &Series) -> f64 {
    series.total.requests as f64 / series.total.measured.as_secs_f64()
}

const LONG: Limit = Limit::After(Duration::from_secs(1000));

/// 20 connections, each of which waits for 2 s, over and over.
#[test]
fn a_constant_delay_in_a_closed_loop() {
    let series = simulate("/delay/2s", |plan| Plan { connections: 20, limit: LONG, ..plan }, None);
    within_a_percent("rate", rate(&series), 20.0 / 2.0);
    quantiles(&series.total.latency, &[(0.0, 2000.0), (0.5, 2000.0), (0.99, 2000.0), (0.999, 2000.0), (1.0, 2000.0)]);
    within_a_percent("mean", series.total.latency.mean() / 1e6, 2000.0);
    assert_eq!(series.total.corrected.len(), 0, "nothing was intended");
    assert_eq!(series.total.errors.total(), 0);
    assert_eq!(series.points.len(), 1000);
    let sum: u64 = series.points.iter().map(|point| point.requests).sum();
    assert_eq!(sum, series.total.requests);
}

#[test]
fn a_constant_delay_in_an_open_loop() {
    let change = |plan| Plan { connections: 50, limit: LONG, rate: Some(20.0), ..plan };
    let series = simulate("/delay/2s", change, None);
    assert_eq!(series.total.requests, 20 * 1000, "each of them, and no other");
    within_a_percent("rate", rate(&series), 20.0);
    let expected = [(0.0, 2000.0), (0.5, 2000.0), (0.99, 2000.0), (0.999, 2000.0)];
    quantiles(&series.total.latency, &expected);
    quantiles(&series.total.corrected, &expected);
    assert_eq!((series.total.unsent, series.total.errors.total()), (0, 0));
}

/// Nine in ten wait for 1 s, one in ten for 10 s: 1.9 s in the mean.
#[test]
fn two_delays_in_both_loops() {
    let path = "/delay/1s:0.9,10s:0.1";
    let closed = simulate(path, |plan| Plan { connections: 38, limit: LONG, ..plan }, None);
    within_a_percent("rate", rate(&closed), 38.0 / 1.9);
    quantiles(&closed.total.latency, &[(0.5, 1000.0), (0.89, 1000.0), (0.91, 10_000.0), (0.99, 10_000.0)]);
    let change = |plan| Plan { connections: 200, limit: LONG, rate: Some(20.0), ..plan };
    let open = simulate(path, change, None);
    within_a_percent("rate", rate(&open), 20.0);
    for histogram in [&open.total.latency, &open.total.corrected] {
        quantiles(histogram, &[(0.5, 1000.0), (0.89, 1000.0), (0.91, 10_000.0), (0.99, 10_000.0)]);
        within_a_percent("mean", histogram.mean() / 1e6, 1900.0);
    }
}

/// Two seconds of twenty nobody is answered. Of requests that come evenly one in ten meets the stall and waits for
/// what is left of it: half of them for more than a second.
#[test]
fn a_stall_shows_in_an_open_loop_whole() {
    let stall = StallAt(Duration::from_secs(10), Duration::from_secs(2));
    let limit = Limit::After(Duration::from_secs(20));
    let change = |plan| Plan { connections: 100, limit, rate: Some(500.0), ..plan };
    let series = simulate("/size/10", change, Some(stall));
    assert_eq!((series.total.requests, series.total.unsent), (10_000, 0));
    within_a_percent("rate", rate(&series), 500.0);
    quantiles(&series.total.corrected, &[(0.95, 1000.0), (0.99, 1800.0), (0.999, 1980.0), (1.0, 2000.0)]);
    let raw = &series.total.latency;
    assert!(raw.value_at_quantile(0.985) < 10_000_000, "of those that were sent only 100 waited: {raw:?}");
    within_a_percent("raw max", raw.max() as f64 / 1e6, 2000.0);
}

/// In a closed loop nobody asks while nobody is answered: each connection has one slow answer, and no percentile shows
/// it. This is what the report warns of.
#[test]
fn a_stall_hides_in_a_closed_loop() {
    let stall = StallAt(Duration::from_secs(2), Duration::from_secs(2));
    let limit = Limit::After(Duration::from_secs(6));
    let series = simulate("/delay/5ms", |plan| Plan { connections: 5, limit, ..plan }, Some(stall));
    let raw = &series.total.latency;
    within_a_percent("max", raw.max() as f64 / 1e6, 2000.0);
    assert!(raw.value_at_quantile(0.99) < 10_000_000);
    let stalled: Vec<u64> = series.points.iter().map(|point| point.requests).collect();
    assert!(stalled[3] == 0 && stalled[1] > 0 && stalled[5] > 0, "but the seconds do: {stalled:?}");
}

/// A stall that lasts beyond the end of the run: what was due is there with the time that it had waited.
#[test]
fn a_stall_at_the_end_shows_as_well() {
    let stall = StallAt(Duration::from_secs(8), Duration::from_secs(60));
    let limit = Limit::After(Duration::from_secs(10));
    let timeout = Duration::from_secs(100);
    let change = |plan| Plan { connections: 100, limit, timeout, rate: Some(500.0), ..plan };
    let series = simulate("/size/10", change, Some(stall));
    let total = &series.total;
    assert_eq!(total.requests + total.unsent, 5000);
    within_a_percent("unsent", total.unsent as f64, 900.0);
    assert!(total.corrected.value_at_quantile(0.9) > 900_000_000, "one in five met it");
    within_a_percent("max", total.corrected.max() as f64 / 1e9, 60.0);
}
