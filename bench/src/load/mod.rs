//! The load: its controller, which lets all shards begin together and knows when they are done.

mod gate;
mod half;
mod line;
mod link;
mod modes;
mod shard;

use crate::{
    cli::{Mode, TcpArgs},
    cpu,
    failure::Failure,
    plan::Plan,
    report::{self, Outcome, Report},
    series::Series,
    tally::Tally,
    threads::{self, Ground},
};
use shard::{Part, Place};
use std::{
    io::{self, Read},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

/// What the controller says to a shard.
enum Message {
    Begin,
    Stop,
    /// What the shard reported is counted; here is the memory back.
    Counted(Box<Tally>),
}

/// What the controller hears.
enum Event {
    /// Every connection of a shard has been tried, and so many are open.
    Opened { connections: u32 },
    /// A shard has warmed up.
    Measuring,
    /// What a shard has counted since the last time.
    Counted(Part),
    /// A shard has stopped loading; it closes its connections now.
    Stopped,
    /// A shard's thread ends, whatever the reason.
    Gone,
    /// Nobody holds our standard input open any more.
    InputEnded,
}

/// `balance-shard bench tcp`.
pub(crate) fn command(args: &TcpArgs) -> Result<(), Failure> {
    if args.mode == Mode::Half {
        return half::command(args);
    }
    let plan = Plan::new(args)?;
    let ground = Ground::new(&args.runtime)?.at_most(plan.connections);
    let announce = match (plan.mode, args.json) {
        (Mode::Idle, false) => Announce::Output,
        (Mode::Idle, true) => Announce::Errors,
        _ => Announce::Nowhere,
    };
    let direct = match &args.backend[..] {
        [] => None,
        backend => Some(run(plan.on(backend), &ground, announce)?),
    };
    let proxy = run(plan, &ground, announce)?;
    let report = Report { proxy, direct };
    report::print(&if args.json { report.json().to_string() + "\n" } else { report.text() })?;
    report.verdict()
}

/// Where it is said that all idle connections are open.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Announce {
    Nowhere,
    Output,
    /// Standard output is for the one JSON object.
    Errors,
}

/// One run from its first connect to its last close.
fn run(plan: Plan, ground: &Ground, announce: Announce) -> Result<Outcome, Failure> {
    if cpu::used_by(&plan.processes).is_none() {
        return Err(Failure::usage("--pid: there is no such process, or it may not be looked at"));
    }
    let plan = Arc::new(plan);
    let (events, heard) = mpsc::channel();
    let shards = ground.start(|number| {
        let (plan, events) = (Arc::clone(&plan), events.clone());
        let place = Place { shard: number, shards: ground.cores.len() };
        move |handle: &_, mailbox: &mut _| {
            let _farewell = Farewell(events.clone());
            shard::live(handle, mailbox, plan, place, events)
        }
    })?;
    let driver = shards[0].driver;
    let controller = Controller { plan: &plan, shards: &shards, events, announce };
    let watch = controller.conduct(&heard)?;
    shards.into_iter().try_for_each(threads::Shard::join)?;
    let plan = (*plan).clone();
    let Watch { series, start, end, .. } = watch;
    Ok(Outcome {
        plan,
        tally: series.total,
        points: series.points,
        shard_cpu: series.shard_cpu,
        cpu: end.ours.saturating_sub(start.ours),
        target_cpu: end.target.zip(start.target).map(|(end, start)| end.saturating_sub(start)),
        driver,
        cores: ground.cores.clone(),
    })
}

/// Says that a shard has ended, a panic included.
struct Farewell(mpsc::Sender<Event>);

impl Drop for Farewell {
    fn drop(&mut self) {
        // Nobody listens only when the controller has failed already.
        let _ = self.0.send(Event::Gone);
    }
}

type LoadShard = threads::Shard<Message, ()>;

struct Controller<'a> {
    plan: &'a Plan,
    shards: &'a [LoadShard],
    events: mpsc::Sender<Event>,
    announce: Announce,
}

/// What the controller measures itself.
struct Watch {
    /// When the last shard began to measure, and when the last one stopped.
    start: CpuTimes,
    end: CpuTimes,
    /// What the target had used when the last point was complete.
    target_at: Option<Duration>,
    series: Series,
}

#[derive(Default)]
struct CpuTimes {
    ours: Duration,
    /// Of the processes that the plan names; `None` when there are none, or not any more.
    target: Option<Duration>,
}

impl CpuTimes {
    fn now(plan: &Plan) -> Self {
        let named = (!plan.processes.is_empty()).then_some(&plan.processes);
        Self { ours: cpu::used(), target: named.and_then(|processes| cpu::used_by(processes)) }
    }
}

impl Watch {
    fn new(shards: usize) -> Self {
        let series = Series::new(shards);
        Self { start: CpuTimes::default(), end: CpuTimes::default(), target_at: None, series }
    }

    fn begin(&mut self, plan: &Plan) {
        self.start = CpuTimes::now(plan);
        self.target_at = self.start.target;
    }

    /// Returns the tally, empty.
    fn count(&mut self, plan: &Plan, part: Part) -> Box<Tally> {
        let Part { shard, second, mut tally } = part;
        let target_at = &mut self.target_at;
        match second {
            None => self.series.add_before(&tally),
            Some(second) => {
                self.series.add(shard, second, &tally, || {
                    let now = CpuTimes::now(plan).target?;
                    Some(now.saturating_sub(target_at.replace(now)?))
                });
            }
        }
        tally.reset();
        tally
    }
}

impl Controller<'_> {
    /// Until every shard is gone.
    fn conduct(&self, heard: &mpsc::Receiver<Event>) -> Result<Watch, Failure> {
        let mut watch = Watch::new(self.shards.len());
        let (mut tried, mut opened, mut gone) = (0, 0, 0);
        while gone < self.shards.len() {
            // `events` keeps the channel open.
            let Ok(event) = heard.recv() else { break };
            match event {
                Event::Opened { connections } => {
                    tried += 1;
                    opened += connections;
                    if tried == self.shards.len() {
                        self.all_tried(opened)?;
                    }
                }
                Event::Measuring => watch.begin(self.plan),
                Event::Counted(part) => {
                    let shard = part.shard;
                    let empty = watch.count(self.plan, part);
                    // One that has ended has no use for it.
                    let _ = self.shards[shard].mailbox.try_send(Message::Counted(empty));
                }
                Event::Stopped => watch.end = CpuTimes::now(self.plan),
                Event::Gone => gone += 1,
                Event::InputEnded => self.tell(|| Message::Stop),
            }
        }
        let measured = watch.series.total.measured;
        watch.series.finish(measured);
        Ok(watch)
    }

    fn all_tried(&self, opened: u32) -> Result<(), Failure> {
        let line = format!("ready {opened} failed {}\n", self.plan.all_connections().saturating_sub(opened));
        match self.announce {
            Announce::Nowhere => {}
            Announce::Output => report::print(&line)?,
            Announce::Errors => eprint!("{line}"),
        }
        if opened == 0 && self.plan.mode.opens_first() {
            // Nothing is there to be measured; the errors say why.
            self.tell(|| Message::Stop);
            return Ok(());
        }
        if self.plan.hold {
            self.watch_input()?;
        }
        self.tell(|| Message::Begin);
        Ok(())
    }

    /// A shard that has ended already needs no telling, and no mailbox is ever full: a shard is told to begin, and to
    /// stop, and has two tallies to get back at most.
    fn tell(&self, message: impl Fn() -> Message) {
        for shard in self.shards {
            let _ = shard.mailbox.try_send(message());
        }
    }

    /// The thread ends with standard input, or with the process.
    fn watch_input(&self) -> Result<(), Failure> {
        let events = self.events.clone();
        let watching = thread::Builder::new().name("stdin".into()).spawn(move || {
            let mut waste = [0; 4096];
            while io::stdin().read(&mut waste).is_ok_and(|count| count > 0) {}
            // After the run nobody cares.
            let _ = events.send(Event::InputEnded);
        });
        watching.map(drop).map_err(|e| Failure::runtime(format!("cannot wait for standard input: {e}")))
    }
}

#[cfg(test)]
mod tests;
