//! What a connection does that speaks in requests and answers: as many requests ahead as there may be, each in time.

use super::{
    link::{Link, Open},
    pace::Seat,
    shard::{Shard, Ticket},
};
use crate::{
    http::{Answer, Conversation, conversation::H1},
    plan::Protocol,
    tally::Fault,
};
use balance_engine::{Received, clock::Timestamp, net::SendDone};
use std::{
    collections::VecDeque,
    future::poll_fn,
    ops::Range,
    rc::Rc,
    task::{Context, Poll},
};

/// A request on its way.
struct Asked {
    ticket: Ticket,
    at: Timestamp,
}

/// Why a connection is at its end.
enum End {
    /// The peer will take no more requests, or has gone away while none was under way.
    Closed,
    Failed(Fault),
    /// Nothing more is to be asked.
    Over,
}

/// The life of a connection.
pub(super) async fn run(mut link: Link) {
    let shard = Rc::clone(&link.shard);
    let Protocol::Http(http) = &shard.plan.protocol else { return };
    let requests = shard.requests(link.number);
    let talk = H1::new(requests, link.number as usize, http.pipeline as usize, Rc::clone(&shard.heads));
    let mut client = Client::new(talk, &link, http.pipeline as usize);
    let mut open = None;
    if shard.plan.opens_first() {
        let permit = shard.gate.enter().await;
        let connected = link.connect(&permit).await;
        drop(permit);
        shard.opened(connected.is_ok());
        match connected {
            Ok(connected) => open = Some(connected),
            Err(fault) => link.failed(fault).await,
        }
    }
    shard.begun().await;
    loop {
        // One that was replaced has requests to ask again, or waits for the next one: a connection for every request
        // is opened when its moment has come.
        if open.is_none() && client.asked.is_empty() && !client.first_ticket().await {
            return;
        }
        let connection = match open.take() {
            Some(open) => open,
            None => match client.connect(&mut link).await {
                Ok(open) => open,
                Err(fault) => {
                    client.fail_oldest(&mut link, fault).await;
                    continue;
                }
            },
        };
        match client.talk_on(&mut link, connection, http.keep_alive).await {
            End::Over => return,
            End::Closed => {}
            End::Failed(fault) => client.fail_oldest(&mut link, fault).await,
        }
    }
}

struct Client<T> {
    talk: T,
    shard: Rc<Shard>,
    /// Of the connection, for an error.
    number: u32,
    seat: Rc<Seat>,
    /// In the order of the answers.
    asked: VecDeque<Asked>,
    /// There is nothing more to ask.
    is_over: bool,
    /// The part of the buffer on its way that is not sent yet.
    sending: Range<u32>,
}

impl<T: Conversation> Client<T> {
    fn new(talk: T, link: &Link, depth: usize) -> Self {
        let (shard, number) = (Rc::clone(&link.shard), link.number);
        let asked = VecDeque::with_capacity(depth);
        Self { talk, shard, number, seat: Rc::default(), asked, is_over: false, sending: 0..0 }
    }

    /// Wait for leave to ask, and ask. `false`: there is nothing more to ask.
    async fn first_ticket(&mut self) -> bool {
        poll_fn(|context| self.poll_ask(context)).await
    }

    fn poll_ask(&mut self, context: &Context<'_>) -> Poll<bool> {
        let Poll::Ready(ticket) = self.shard.poll_ticket(&self.seat, context) else { return Poll::Pending };
        let Some(ticket) = ticket else {
            self.is_over = true;
            return Poll::Ready(false);
        };
        self.talk.ask();
        self.asked.push_back(Asked { ticket, at: self.shard.handle.now() });
        self.shard.busy.set(self.shard.busy.get() + 1);
        Poll::Ready(true)
    }

    /// The wait for the permit is ours and not the server's; the rest of what a new connection takes is in the latency
    /// of the requests that it is opened for.
    async fn connect(&mut self, link: &mut Link) -> Result<Open, Fault> {
        let permit = self.shard.gate.enter().await;
        let now = self.shard.handle.now();
        self.asked.iter_mut().for_each(|asked| asked.at = now);
        self.talk.begin_again();
        link.connect(&permit).await
    }

    /// The oldest request has come to nothing, where there is one, and with it the connection.
    async fn fail_oldest(&mut self, link: &mut Link, fault: Fault) {
        if self.asked.pop_front().is_some() {
            self.talk.give_up();
            self.shard.busy.set(self.shard.busy.get() - 1);
        }
        link.failed(fault).await;
    }

    async fn talk_on(&mut self, link: &mut Link, mut open: Open, keep_alive: bool) -> End {
        self.sending = 0..0;
        let end = poll_fn(|context| {
            if let Poll::Ready(end) = self.poll(&mut open, context, keep_alive) {
                return Poll::Ready(end);
            }
            let Some(oldest) = self.asked.front() else { return Poll::Pending };
            let deadline = oldest.at + self.shard.plan.timeout;
            link.timer.poll_lazily_at(deadline, context).map(|()| End::Failed(Fault::Timeout))
        });
        end.await
    }

    fn poll(&mut self, open: &mut Open, context: &Context<'_>, keep_alive: bool) -> Poll<End> {
        loop {
            // First what has come, for it makes room.
            if let Poll::Ready(end) = self.receive(open, context, keep_alive) {
                return Poll::Ready(end);
            }
            let mut asked = false;
            while keep_alive && !self.is_over && self.talk.has_room() {
                match self.poll_ask(context) {
                    Poll::Ready(true) => asked = true,
                    Poll::Ready(false) | Poll::Pending => break,
                }
            }
            if self.is_over && self.asked.is_empty() {
                return Poll::Ready(End::Over);
            }
            match self.send(open, context) {
                Err(fault) => return Poll::Ready(End::Failed(fault)),
                Ok(()) if asked && self.talk.has_room() => {}
                Ok(()) => return Poll::Pending,
            }
        }
    }

    fn send(&mut self, open: &mut Open, context: &Context<'_>) -> Result<(), Fault> {
        loop {
            if open.socket.is_sending() {
                let Poll::Ready(SendDone { buffer, result }) = open.socket.poll_sent(context) else { return Ok(()) };
                let sent = result.map_err(Fault::of_stream)?;
                self.shard.moved(u64::from(sent), 0);
                self.sending.start += sent;
                if !self.sending.is_empty() {
                    open.socket.start_send(buffer, self.sending.start, self.sending.end);
                    continue;
                }
            }
            if !self.talk.has_to_say() {
                return Ok(());
            }
            let mut buffer = self.shard.handle.pool().take(self.shard.piece).ok_or(Fault::NoBuffers)?;
            let bytes = self.talk.fill(&mut buffer) as u32;
            self.sending = 0..bytes;
            open.socket.start_send(buffer, 0, bytes);
        }
    }

    fn receive(&mut self, open: &mut Open, context: &Context<'_>, keep_alive: bool) -> Poll<End> {
        loop {
            if !self.shard.handle.spend(context) {
                return Poll::Pending;
            }
            let chunk = match open.socket.poll_recv(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Received::Data(chunk)) => chunk,
                Poll::Ready(Received::Eof) => return Poll::Ready(self.heard_end()),
                // A server that resets a connection on which nothing is under way has only let go of it.
                Poll::Ready(Received::Failed(errno)) if errno.is_reset() && self.asked.is_empty() => {
                    return Poll::Ready(End::Closed);
                }
                Poll::Ready(Received::Failed(errno)) => return Poll::Ready(End::Failed(Fault::of_stream(errno))),
            };
            self.shard.moved(0, u64::from(chunk.len));
            let mut bytes = &chunk.buffer[..chunk.len as usize];
            loop {
                match self.talk.hear(&mut bytes) {
                    Ok(None) => break,
                    Ok(Some(answer)) => {
                        self.answered(answer);
                        if answer.last || !keep_alive {
                            return Poll::Ready(match bytes {
                                [] => End::Closed,
                                _ => End::Failed(Fault::Extra),
                            });
                        }
                    }
                    Err(fault) => return Poll::Ready(End::Failed(fault)),
                }
            }
        }
    }

    fn heard_end(&mut self) -> End {
        match self.talk.heard_end() {
            Ok(None) => End::Closed,
            Ok(Some(answer)) => {
                self.answered(answer);
                End::Closed
            }
            Err(fault) => End::Failed(fault),
        }
    }

    fn answered(&mut self, answer: Answer) {
        let Some(asked) = self.asked.pop_front() else { return };
        self.shard.busy.set(self.shard.busy.get() - 1);
        self.shard.answered_with(answer.status, asked.ticket, asked.at, self.number);
    }
}
