//! The load: its controller, which lets all shards begin together and knows when they are done.

mod gate;
mod half;
mod http;
mod line;
mod link;
mod modes;
mod pace;
mod shard;

use crate::{
    cli::{HttpArgs, LoadArgs, Mode, Progress, TcpArgs},
    cpu,
    failure::Failure,
    files::Files,
    interrupt::Interrupt,
    latency::Target,
    machine,
    plan::Plan,
    progress::Display,
    report::{self, Outcome, Report},
    series::Series,
    tally::Tally,
    threads::{self, Ground},
    values::Destination,
};
use balance_engine::clock::{Clock, Timestamp};
use shard::{Part, Place};
use std::{
    io::{self, Read},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

/// What the controller says to a shard.
enum Message {
    /// The load begins, and its schedule with this moment.
    Begin(Timestamp),
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
    /// Ctrl-C.
    Interrupted,
    /// Nobody holds our standard input open any more.
    InputEnded,
}

/// `balance-shard bench tcp`.
pub(crate) fn tcp(args: &TcpArgs) -> Result<(), Failure> {
    if args.mode == Mode::Half {
        return half::command(args);
    }
    command("tcp", Plan::tcp(args)?, &args.backend, &args.load, &[])?.judge(false)
}

/// `balance-shard bench http`.
pub(crate) fn http(args: &HttpArgs) -> Result<(), Failure> {
    command("http", Plan::http(args)?, &args.target.backend, &args.load, &[])?.judge(false)
}

/// Measure, without the proxy first where there is something behind it, and say what came out.
///
/// # Errors
/// What kept it from being measured or told. The report has its own verdict.
pub(crate) fn command(
    bench: &'static str,
    plan: Plan,
    backend: &[Destination],
    args: &LoadArgs,
    targets: &[Target],
) -> Result<Report, Failure> {
    let files = Files::create(&args.output)?;
    let interrupt = Interrupt::watch()?;
    let ground = Ground::new(&args.runtime)?.at_most(plan.connections);
    let announce = match (plan.mode, args.output.json) {
        (Mode::Idle, false) => Announce::Output,
        (Mode::Idle, true) => Announce::Errors,
        _ => Announce::Nowhere,
    };
    let progress = if plan.mode == Mode::Idle { Progress::Off } else { args.output.progress };
    let way = Way { ground: &ground, announce, progress, interrupt: &interrupt };
    let direct = match backend {
        [] => None,
        backend => Some(run(plan.on(backend), &way)?),
    };
    let report = match direct {
        Some(direct) if direct.interrupted => Report::new(bench, direct, None),
        direct => Report::new(bench, run(plan, &way)?, direct),
    };
    let report = Report { targets: targets.to_vec(), ..report };
    report::print(&if args.output.json { report.json().to_string() + "\n" } else { report.text() })?;
    files.write(&report)?;
    Ok(report)
}

/// How a run is done and shown, whatever its plan.
pub(crate) struct Way<'a> {
    pub(crate) ground: &'a Ground,
    announce: Announce,
    pub(crate) progress: Progress,
    pub(crate) interrupt: &'a Interrupt,
}

impl<'a> Way<'a> {
    pub(crate) fn quiet(ground: &'a Ground, interrupt: &'a Interrupt) -> Self {
        Self { ground, announce: Announce::Nowhere, progress: Progress::Off, interrupt }
    }
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
pub(crate) fn run(plan: Plan, way: &Way<'_>) -> Result<Outcome, Failure> {
    let ground = way.ground;
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
    let call = events.clone();
    // After the run nobody cares.
    way.interrupt.call(move || drop(call.send(Event::Interrupted)));
    let started = machine::wall_now();
    let controller = Controller { plan: &plan, shards: &shards, events, announce: way.announce };
    let mut display = Display::new(way.progress, shards.len());
    let watch = controller.conduct(&heard, &mut display)?;
    drop(display);
    shards.into_iter().try_for_each(threads::Shard::join)?;
    let plan = (*plan).clone();
    let Watch { series, start, end, .. } = watch;
    Ok(Outcome {
        plan,
        started,
        interrupted: way.interrupt.has_struck(),
        busiest_thread: cpu::busiest(&start.threads, &end.threads),
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
    /// Of each of their threads.
    threads: Vec<cpu::Thread>,
}

impl CpuTimes {
    fn now(plan: &Plan) -> Self {
        let named = (!plan.processes.is_empty()).then_some(&plan.processes);
        let target = named.and_then(|processes| cpu::used_by(processes));
        Self { ours: cpu::used(), target, threads: cpu::threads_of(&plan.processes) }
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
    fn count(&mut self, plan: &Plan, part: Part, display: &mut Display) -> Box<Tally> {
        let Part { shard, second, mut tally } = part;
        let target_at = &mut self.target_at;
        match second {
            None => self.series.add_before(&tally),
            Some(second) => {
                let point = self.series.add(shard, second, &tally, || {
                    let now = cpu::used_by(&plan.processes).filter(|_| !plan.processes.is_empty())?;
                    Some(now.saturating_sub(target_at.replace(now)?))
                });
                if let Some(point) = point {
                    display.show(point);
                }
            }
        }
        tally.reset();
        tally
    }
}

impl Controller<'_> {
    /// Until every shard is gone.
    fn conduct(&self, heard: &mpsc::Receiver<Event>, display: &mut Display) -> Result<Watch, Failure> {
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
                    let empty = watch.count(self.plan, part, display);
                    // One that has ended has no use for it.
                    let _ = self.shards[shard].mailbox.try_send(Message::Counted(empty));
                }
                Event::Stopped => watch.end = CpuTimes::now(self.plan),
                Event::Gone => gone += 1,
                Event::Interrupted | Event::InputEnded => self.tell(|| Message::Stop),
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
        if opened == 0 && self.plan.opens_first() {
            // Nothing is there to be measured; the errors say why.
            self.tell(|| Message::Stop);
            return Ok(());
        }
        if self.plan.hold {
            self.watch_input()?;
        }
        let now = Clock::monotonic().now();
        self.tell(|| Message::Begin(now));
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
