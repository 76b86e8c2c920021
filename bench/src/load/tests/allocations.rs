//! In the steady state a request costs no allocation: neither in the load nor, as far as it is ours, beneath it.

use super::{
    super::shard::{LoadInbox, Place, Shard},
    http::{asking, form},
    *,
};
use balance_engine::{Handle, clock::Timestamp, mailbox::Receiver, shard::Inbox, testing::allocations};
use std::{ops::ControlFlow, rc::Rc};

/// Between these two counts of answers it is looked.
const FROM: u64 = 4_000;
const TO: u64 = 16_000;
/// For what each second costs: a message about it, and vectors of the loop that are given back and taken again.
const SPARE: u64 = 20;

/// The load's inbox, which notes how often memory had been asked for when so many answers were there.
struct Watching {
    inbox: LoadInbox,
    shard: Rc<Shard>,
    answers: u64,
    seen: u64,
    at: [Option<(u64, Timestamp)>; 2],
}

impl Inbox for Watching {
    type Message = Message;

    fn handle(&mut self, message: Message) -> ControlFlow<()> {
        self.inbox.handle(message)
    }

    fn after_turn(&mut self) -> ControlFlow<()> {
        let now = self.shard.tally.borrow().requests;
        // A tally begins anew every second.
        self.answers += if now < self.seen { now } else { now - self.seen };
        self.seen = now;
        for (at, limit) in self.at.iter_mut().zip([FROM, TO]) {
            if self.answers >= limit {
                at.get_or_insert_with(|| (allocations(), self.shard.handle.now()));
            }
        }
        self.inbox.after_turn()
    }
}

#[track_caller]
fn allocates_nothing(what: &str, plan: Plan, io: Io) {
    let plan = Arc::new(plan);
    let (events, heard) = mpsc::channel();
    let mut shards = Ground::test(1, io)
        .start(|_| {
            let (plan, events) = (Arc::clone(&plan), events.clone());
            move |handle: &Handle, mailbox: &mut Receiver<Message>| {
                let shard = Shard::new(handle, plan, Place { shard: 0, shards: 1 });
                shard.spawn_all()?;
                let inbox = LoadInbox::new(&shard, events);
                let mut watching = Watching { inbox, shard, answers: 0, seen: 0, at: [None; 2] };
                balance_engine::shard::run(handle, &Clock::monotonic(), mailbox, &mut watching)?;
                Ok(watching.at)
            }
        })
        .expect("a shard");
    drop(events);
    let shard = shards.pop().expect("one");
    for event in heard {
        let answer = match event {
            Event::Opened { .. } => Message::Begin(Clock::monotonic().now()),
            Event::Counted(Part { mut tally, .. }) => {
                tally.reset();
                Message::Counted(tally)
            }
            _ => continue,
        };
        // One that has ended has no use for it.
        let _ = shard.mailbox.try_send(answer);
    }
    let [from, to] = shard.join().expect("a clean end");
    let ((from, since), (to, until)) = (from.expect("as many answers"), to.expect("as many answers"));
    let (count, seconds) = (to - from, (until - since).as_secs() + 1);
    assert!(count <= SPARE * seconds, "{count} allocations in {} {what}, {io:?}, {seconds} s", TO - FROM);
}

#[test]
fn requests_and_messages_allocate_nothing() {
    let (server, http) = serve(Kind::Http);
    let (peer, echo) = echo();
    let limit = Limit::Requests(TO + 2_000);
    for io in [Io::Auto, Io::Epoll] {
        for pipeline in [1, 8] {
            let plan = Plan { limit, ..asking(form(), pipeline, &["/size/64", "/size/100"], http) };
            allocates_nothing(&format!("requests, {pipeline} ahead"), plan, io);
        }
        allocates_nothing("messages", Plan { limit, ..plan(Mode::PingPong, echo) }, io);
    }
    let plan = Plan { limit, rate: Some(20_000.0), ..asking(form(), 1, &["/size/64"], http) };
    allocates_nothing("requests of an open loop", plan, Io::Auto);
    server.stop().expect("a clean end");
    peer.stop().expect("a clean end");
}
