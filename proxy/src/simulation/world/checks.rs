//! What must hold in a simulated world: after every turn, now and then, and in the end.

use super::*;

/// What must hold.
impl World {
    pub(super) fn learn_counters(&self) {
        let mut listeners = self.listeners_seen.borrow_mut();
        let mut endpoints = self.endpoints_seen.borrow_mut();
        for name in self.plan.listener_names() {
            let Some(listener) = self.state.listener_named(&name) else { continue };
            for endpoint in listener.clusters().iter().flat_map(|c| &c.endpoints) {
                if !endpoints.iter().any(|known| Rc::ptr_eq(known, endpoint)) {
                    endpoints.push(Rc::clone(endpoint));
                }
            }
            listener.set_ladder(self.plan.ladder);
            if !listeners.iter().any(|known| Rc::ptr_eq(known, &listener)) {
                listeners.push(listener);
            }
        }
    }

    /// After every turn of the proxy.
    pub(super) fn check_turn(&self, turn: u64) {
        if let Some(failure) = self.ledger.first_failure() {
            panic!("{failure}");
        }
        assert!(!self.net.is_stuck(), "deadlock: everybody waits for ever; {}", self.describe());
        let late = self.now() > Timestamp::START + LONGEST;
        assert!(!late, "deadlock: nothing more comes of this world; {}", self.describe());
        assert!(turn < TURNS_MAX, "livelock: {turn} turns, and no end; {}", self.describe());
        if turn.is_multiple_of(AUDIT_EVERY) {
            self.audit();
        }
    }

    /// All counts of the same things agree.
    fn audit(&self) {
        let table = self.state.table.borrow();
        let rows = table.len() as u64;
        assert_eq!(rows, self.state.handle.bounded_tasks() as u64, "rows and tasks");
        let sum = |of: fn(&ListenerState) -> u64| self.listeners_seen.borrow().iter().map(|l| of(l)).sum::<u64>();
        assert_eq!(rows, sum(|l| l.active.get()), "rows and active connections");
        assert_eq!(rows + self.ended(), sum(|l| l.accepted.get()), "rows, endings, and what was accepted");
        let connected = table.iter().filter(|(_, row)| row.endpoint().is_some()).count() as u64;
        let active: u64 = self.endpoints_seen.borrow().iter().map(|e| u64::from(e.active.get())).sum();
        assert_eq!(connected, active, "rows with an endpoint, and connections of endpoints");
        let panicked = self.state.handle.stats().tasks.panicked;
        assert_eq!(panicked, self.endings(Reason::Panicked), "tasks that panicked, and connections that did");
        assert!(panicked == 0 || self.plan.panics, "a task of the proxy panicked");
        assert_eq!(self.outside.stats().tasks.panicked, 0, "a task of the outside panicked");
    }

    fn ended(&self) -> u64 {
        self.state.report().endings.iter().map(|(_, count)| count).sum()
    }

    pub(super) fn endings(&self, reason: Reason) -> u64 {
        self.state.report().endings.iter().find(|(r, _)| *r == reason).map_or(0, |(_, count)| *count)
    }

    /// A quiet shard with so many listeners holds what those need and nothing else.
    pub(super) fn check_idle(&self, listeners: u64) {
        const ACCEPTS: u64 = 16;
        let stats = self.state.handle.stats();
        let in_use: u64 = stats.buffers.classes.iter().map(|class| class.in_use).sum();
        let found = [
            ("rows", self.state.table.borrow().len() as u64, 0),
            ("tasks", stats.tasks.live, listeners),
            ("tasks that wait", stats.tasks.queued, 0),
            ("operations", stats.ops_in_flight, listeners * ACCEPTS),
            ("descriptors", stats.descriptors, listeners),
            ("timers", stats.timers, 0),
            ("buffers", in_use, 0),
            ("pipes", stats.pipes.in_use, 0),
            ("starved receives", stats.loop_.starved_now, 0),
        ];
        for (what, found, expected) in found {
            if found != expected {
                self.ledger.fail(format!("{found} {what} instead of {expected} when all is quiet"));
            }
        }
        for listener in &*self.listeners_seen.borrow() {
            if listener.active.get() != 0 {
                self.ledger.fail(format!("{} counts {} connections", listener.name, listener.active.get()));
            }
        }
        for endpoint in &*self.endpoints_seen.borrow() {
            if endpoint.active.get() != 0 {
                self.ledger.fail(format!("{} counts {} connections", endpoint.address, endpoint.active.get()));
            }
        }
    }

    pub(super) fn check_endings(&self) {
        self.audit();
        self.ledger.check_nameless_ends();
        let records = self.clients.borrow().clone();
        for (client, expected) in records {
            if let Err(what) = self.check_client(client, expected) {
                self.ledger.fail(format!("{client:?}: {what}; {}", self.describe_pair(client)));
            }
        }
        if self.plan.calm {
            for reason in [Reason::Error, Reason::NoEndpoint, Reason::ConnectFailed, Reason::ConnectTimeout] {
                let count = self.endings(reason);
                if count > 0 {
                    self.ledger.fail(format!("{count} connections ended by {reason:?} although nothing was wrong"));
                }
            }
        }
    }

    fn check_client(&self, client: Party, expected: Expected) -> Result<(), String> {
        // Where first bytes are looked at, who says nothing is refused at its FIN.
        let said_nothing = self.plan.peek.is_some() && self.ledger.with(client, |record| record.sent == 0);
        let is_sure = self.plan.calm || expected == Expected::Complete && self.is_probe(client);
        let expected = if is_sure && !said_nothing { expected } else { Expected::Anything };
        let complete = |party: Party| self.ledger.with(party, |record| record.complete);
        match expected {
            Expected::Anything => Ok(()),
            Expected::Complete if self.plan.panics && !complete(client) => {
                let told = self.ledger.with(client, |record| record.told);
                if matches!(told, Some(Told::Reset(_))) { Ok(()) } else { Err("cut short, and not told so".into()) }
            }
            Expected::Complete => {
                let peer = self.ledger.with(client, |record| record.peer);
                if complete(client) && peer.is_none_or(complete) { Ok(()) } else { Err("it was cut short".into()) }
            }
            Expected::IdleTimeout => self.check_timeout(client, self.plan.idle, |client, _| client.last_sent),
            Expected::HalfCloseTimeout => self.check_timeout(client, self.plan.half_close, |client, _| client.fin_at),
        }
    }

    fn is_probe(&self, client: Party) -> bool {
        self.script_of(client).is_some_and(|script| script.is_probe)
    }

    /// It was reset when the time-out had passed since its last sign of life, and soon after that.
    fn check_timeout(
        &self,
        client: Party,
        limit: Option<Duration>,
        since: impl Fn(&Times, &Times) -> Timestamp,
    ) -> Result<(), String> {
        let limit = limit.unwrap_or_default();
        let times = |party: Party| self.ledger.with(party, |r| Times::of(r));
        let mine = times(client);
        let theirs = self.ledger.with(client, |r| r.peer).map_or_else(Times::default, times);
        if !matches!(mine.told, Some(Told::Reset(_))) {
            return Err(format!("it ended with {:?}, not by a time-out", mine.told));
        }
        let earliest = since(&mine, &theirs).max(theirs.last_sent.min(mine.last_received)) + limit;
        let latest = [mine.last_sent, mine.last_received, mine.fin_at, theirs.last_sent, theirs.last_received]
            .into_iter()
            .max()
            .unwrap_or_default()
            + limit
            // What a kernel still had to send may be looked at so much later.
            + limit / 4
            + self.plan.slack();
        if mine.ended_at < earliest {
            return Err(format!("it died {:?} too early", earliest - mine.ended_at));
        }
        if mine.ended_at > latest {
            return Err(format!("it died {:?} too late", mine.ended_at - latest));
        }
        Ok(())
    }

    fn describe_pair(&self, client: Party) -> String {
        let peer = self.ledger.with(client, |record| record.peer);
        let theirs = peer.map(|peer| self.ledger.with(peer, |record| format!("{record:?}")));
        let mine = self.ledger.with(client, |record| format!("{record:?}"));
        let limits = (self.plan.idle, self.plan.half_close);
        let endings = self.state.report().endings;
        format!(
            "time-outs {limits:?}, {endings:?}, client {mine}, backend {theirs:?}, script {:?}",
            self.script_of(client)
        )
    }

    pub(super) fn describe(&self) -> String {
        let open: Vec<_> = self.ledger.parties().into_iter().filter(|p| self.ledger.with(*p, |r| !r.over)).collect();
        let filter = ConnectionFilter { limit: 10, ..ConnectionFilter::default() };
        let rows = crate::table::select(&self.state, &filter);
        let first = open.first().map(|party| self.describe_pair(*party));
        let stats = self.state.handle.stats();
        format!("time {:?}, open {open:?}, first open: {first:?}, rows {rows:?}, {stats:?}", self.now())
    }

    /// The shard has ended: it holds nothing, whatever it was doing.
    pub(super) fn check_torn_down(&self, handle: &Handle) {
        self.audit();
        self.check_idle(0);
        if let Some(failure) = self.ledger.first_failure() {
            panic!("after the end of the shard: {failure}");
        }
        assert_eq!(handle.pool().leaked(), 0, "buffers that have not come back");
    }
}

/// The moments of a record that tell when a connection was last in use.
#[derive(Clone, Copy, Default)]
struct Times {
    told: Option<Told>,
    last_sent: Timestamp,
    last_received: Timestamp,
    fin_at: Timestamp,
    ended_at: Timestamp,
}

impl Times {
    fn of(r: &crate::simulation::ledger::Record) -> Self {
        Self {
            told: r.told,
            last_sent: r.last_sent,
            last_received: r.last_received,
            fin_at: r.fin_at,
            ended_at: r.ended_at,
        }
    }
}
