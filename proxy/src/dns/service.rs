//! The task that asks, between the state of the names and the resolver. It runs on the control thread and never ends.

use super::{
    fill::{self, Addresses},
    names::{Handled, NameReport, Names, Outcome, Question, Verdict},
    quiet::{Quiet, is_worth_a_line},
    resolver::Resolver,
};
use balance_config::model::{self, Config};
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::{Notify, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout_at};

/// How often the files of the system are looked at, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// All names of the process.
pub(crate) struct Dns {
    /// Held for a step, never over an await.
    state: Mutex<State>,
    /// The configuration wants other names, or asks otherwise.
    wanted: Notify,
    /// Counts outcomes, for those that wait for first ones.
    heard: watch::Sender<u64>,
    /// Some name has other addresses than [`Self::addresses`] said.
    changed: Notify,
}

struct State {
    names: Names,
    settings: model::Dns,
    resolver: Option<Arc<Resolver>>,
    looked_at: Instant,
    /// Counts changes of addresses.
    version: u64,
    quiet: Quiet,
}

/// The addresses of all names, and which change of them this is.
pub(crate) struct Picture {
    pub(crate) addresses: Addresses,
    pub(crate) version: u64,
}

impl Dns {
    pub(crate) fn new(settings: &model::Dns) -> Arc<Self> {
        // For the jitter alone, which no secret hangs on.
        let seed = RandomState::new().hash_one(0);
        let state = State {
            names: Names::new(settings.clone(), seed),
            settings: settings.clone(),
            resolver: None,
            looked_at: Instant::now(),
            version: 0,
            quiet: Quiet::default(),
        };
        Arc::new(Self {
            state: Mutex::new(state),
            wanted: Notify::new(),
            heard: watch::Sender::new(0),
            changed: Notify::new(),
        })
    }

    /// Begins to ask for what `config` names, beside what is asked for already.
    pub(crate) fn want(&self, config: &Config) {
        let mut state = self.state();
        if state.settings != config.dns {
            state.settings = config.dns.clone();
            state.resolver = None;
        }
        state.names.add(fill::hosts(config), &config.dns, Instant::now());
        drop(state);
        self.wanted.notify_one();
    }

    /// As [`Self::want`], and forgets all other names.
    pub(crate) fn want_only(&self, config: &Config) {
        self.want(config);
        self.state().names.retain(&fill::hosts(config));
        // What is left may have been tried all.
        self.heard.send_modify(|count| *count += 1);
    }

    /// Returns when every name has been asked for once, however that went, or at `deadline`.
    pub(crate) async fn first_answers(&self, deadline: Instant) {
        let mut heard = self.heard.subscribe();
        while !self.state().names.all_tried() {
            if timeout_at(deadline, heard.changed()).await.is_err() {
                return;
            }
        }
    }

    pub(crate) fn picture(&self) -> Picture {
        let state = self.state();
        let addresses = state.names.hosts().map(|h| (h.clone(), state.names.addresses(h))).collect();
        Picture { addresses, version: state.version }
    }

    /// Returns when addresses have changed since the last time. Of several changes none is missed, but they may count
    /// as one.
    ///
    /// # Cancel safety
    /// A change that was not returned is returned next time.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    pub(crate) fn report(&self) -> Vec<NameReport> {
        self.state().names.report(Instant::now())
    }

    /// Tells of every outcome.
    #[cfg(test)]
    pub(super) fn answers(&self) -> watch::Receiver<u64> {
        self.heard.subscribe()
    }

    /// Asks, for ever.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut asking = JoinSet::new();
        let mut questions = HashMap::new();
        loop {
            let next = self.ask_due(&mut asking, &mut questions);
            let due = async {
                match next {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(ended) = asking.join_next_with_id() => {
                    let (id, outcome) = answer_of(ended);
                    if let Some(question) = questions.remove(&id) {
                        self.hear(&question, outcome);
                    }
                }
                () = self.wanted.notified() => {}
                () = due => {}
            }
        }
    }

    /// Starts whatever is due; returns when something will be.
    fn ask_due(&self, asking: &mut JoinSet<Outcome>, questions: &mut HashMap<Id, Question>) -> Option<Instant> {
        let now = Instant::now();
        let mut state = self.state();
        while let Some(question) = state.names.begin_due(now) {
            let resolver = state.resolver(now);
            let asked = question.clone();
            let task = asking.spawn(async move { resolver.ask(&asked).await });
            questions.insert(task.id(), question);
        }
        state.names.next_due()
    }

    fn hear(&self, question: &Question, outcome: Outcome) {
        let now = Instant::now();
        let mut state = self.state();
        let handled = state.names.handle(question, outcome, now);
        if handled.changed {
            state.version += 1;
            self.changed.notify_one();
        }
        state.log(question, handled, now);
        drop(state);
        self.heard.send_modify(|count| *count += 1);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic in there would be one of the pure core, whose counts could be off; its addresses are good.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question whose task panicked counts as one that was answered with nonsense: it will be asked again.
fn answer_of(ended: Result<(Id, Outcome), JoinError>) -> (Id, Outcome) {
    ended.unwrap_or_else(|error| (error.id(), Outcome::Failed(Verdict::BadAnswer)))
}

impl State {
    /// The resolver for a question that is asked now.
    fn resolver(&mut self, now: Instant) -> Arc<Resolver> {
        if now.saturating_duration_since(self.looked_at) >= LOOK_EVERY {
            self.looked_at = now;
            self.resolver.take_if(|r| r.is_outdated());
        }
        let settings = &self.settings;
        self.resolver.get_or_insert_with(|| Arc::new(Resolver::new(settings))).clone()
    }

    fn log(&mut self, question: &Question, handled: Handled, now: Instant) {
        let (name, record) = (&*question.host, question.record.as_str());
        let failed = handled.failed.filter(|f| is_worth_a_line(f.streak));
        let is_line = handled.changed || failed.is_some() || handled.recovered_after > 0;
        let Some(held_back) = is_line.then(|| self.quiet.may_say(now)).flatten() else { return };
        if held_back > 0 {
            tracing::warn!(lines = held_back, "lines about names were left out");
        }
        let count = self.names.addresses(name).len();
        if let Some(failed) = failed {
            let (why, attempts) = (failed.verdict.as_str(), failed.streak);
            tracing::warn!(name, record, why, attempts, kept = count, "a name cannot be resolved");
        } else if handled.changed {
            tracing::info!(name, addresses = count, "a name has other addresses");
        } else {
            tracing::info!(name, record, failures = handled.recovered_after, "a name can be resolved again");
        }
    }
}
