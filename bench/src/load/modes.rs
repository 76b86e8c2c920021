//! What the connections do: a task each.

use super::{
    http,
    line::Line,
    link::{Link, Open},
    pace::Seat,
    shard::{Shard, Ticket},
};
use crate::{cli::Mode, pattern::Checker, plan::Bytes, tally::Fault};
use balance_engine::{Received, buf::Buffer};
use std::{future::poll_fn, rc::Rc, task::Poll};

/// The life of connection `number`.
pub(super) async fn run(shard: Rc<Shard>, number: u32) {
    let mode = shard.plan.mode;
    let _alive = shard.alive();
    let link = Link::new(shard, number);
    match mode {
        Mode::Half if number >= link.shard.plan.connections => half(link).await,
        Mode::PingPong | Mode::Half => ping_pong(link).await,
        Mode::Connect => connect(link).await,
        Mode::StreamDown => stream(link, Way::Down).await,
        Mode::StreamUp => stream(link, Way::Up).await,
        Mode::Idle => idle(link).await,
        Mode::Http => http::run(link).await,
    }
}

async fn ping_pong(mut link: Link) {
    let shard = Rc::clone(&link.shard);
    let first = link.open().await;
    shard.opened(first.is_ok());
    let mut line = match first {
        Ok(line) => Some(line),
        Err(fault) => {
            link.failed(fault).await;
            None
        }
    };
    shard.begun().await;
    let seat = Rc::new(Seat::default());
    while let Some(ticket) = shard.next(&seat).await {
        let mut open = match line.take() {
            Some(open) => open,
            None => match link.open().await {
                Ok(open) => open,
                Err(fault) => {
                    link.failed(fault).await;
                    continue;
                }
            },
        };
        let started = shard.handle.now();
        match link.exchange(&mut open).await {
            Ok(()) => {
                shard.answered(ticket, started);
                line = Some(open);
            }
            Err(fault) => link.failed(fault).await,
        }
    }
}

async fn connect(mut link: Link) {
    let shard = Rc::clone(&link.shard);
    shard.begun().await;
    let seat = Rc::new(Seat::default());
    while let Some(ticket) = shard.next(&seat).await {
        if let Err(fault) = connect_once(&mut link, ticket).await {
            link.failed(fault).await;
        }
    }
}

/// From the connect to the answer; the wait for the permit is ours and not in it. The socket is closed on return.
async fn connect_once(link: &mut Link, ticket: Ticket) -> Result<(), Fault> {
    let shard = Rc::clone(&link.shard);
    let permit = shard.gate.enter().await;
    let started = shard.handle.now();
    let open = link.connect(&permit).await?;
    drop(permit);
    let mut line = link.line(open);
    link.exchange(&mut line).await?;
    shard.answered(ticket, started);
    Ok(())
}

async fn idle(mut link: Link) {
    let line = link.open().await;
    hold(link, line).await;
}

/// Half a message, and nothing more. What the server sends back of it is awaited, for then it has come through.
async fn half(mut link: Link) {
    let bytes = link.shard.plan.size / 2;
    let line = link.open_with(bytes).await;
    hold(link, line).await;
}

/// Until it is lost, which it should not be.
async fn hold(mut link: Link, line: Result<Line, Fault>) {
    let shard = Rc::clone(&link.shard);
    shard.opened(line.is_ok());
    let fault = match line {
        Ok(mut line) => poll_fn(|context| line.poll_lost(context)).await,
        Err(fault) => fault,
    };
    link.failed(fault).await;
}

#[derive(Clone, Copy)]
enum Way {
    Up,
    Down,
}

async fn stream(mut link: Link, way: Way) {
    let shard = Rc::clone(&link.shard);
    let permit = shard.gate.enter().await;
    let mut first = Some(link.connect(&permit).await);
    drop(permit);
    shard.opened(matches!(first, Some(Ok(_))));
    shard.begun().await;
    loop {
        let open = match first.take() {
            Some(open) => open,
            None => {
                let permit = shard.gate.enter().await;
                link.connect(&permit).await
            }
        };
        let fault = match open {
            Err(fault) => fault,
            Ok(open) => match way {
                Way::Up => send_on(&mut link, open).await,
                Way::Down => take_on(&mut link, open).await,
            },
        };
        link.failed(fault).await;
    }
}

/// Send until something goes wrong.
async fn send_on(link: &mut Link, mut open: Open) -> Fault {
    let shard = Rc::clone(&link.shard);
    let size = shard.plan.size as usize;
    let mut pattern = link.pattern();
    let pool = shard.handle.pool();
    let Some(mut buffer) = pool.optimal(size).and_then(|class| pool.take(class)) else { return Fault::NoBuffers };
    loop {
        pattern.fill(&mut buffer[..size]);
        buffer = match send_piece(link, &mut open, buffer, size as u32).await {
            Ok(buffer) => buffer,
            Err(fault) => return fault,
        };
    }
}

async fn send_piece(link: &mut Link, open: &mut Open, buffer: Buffer, size: u32) -> Result<Buffer, Fault> {
    let mut from = 0;
    open.socket.start_send(buffer, from, size);
    loop {
        let done = link.in_time(Fault::Timeout, |_, context| open.socket.poll_sent(context).map(Ok)).await?;
        let sent = done.result.map_err(Fault::of_stream)?;
        link.shard.moved(u64::from(sent), 0);
        from += sent;
        if from == size {
            return Ok(done.buffer);
        }
        open.socket.start_send(done.buffer, from, size);
    }
}

/// Receive until something goes wrong.
async fn take_on(link: &mut Link, mut open: Open) -> Fault {
    let mut checker = match link.shard.plan.bytes {
        Bytes::Checked => Checker::UNKNOWN,
        Bytes::Any => Checker::Any,
    };
    loop {
        let received = link.in_time(Fault::Timeout, |shard, context| {
            // A fast server's stream has always something; the other connections have theirs.
            if !shard.handle.spend(context) {
                return Poll::Pending;
            }
            open.socket.poll_recv(context).map(Ok)
        });
        match received.await {
            Ok(Received::Data(chunk)) => {
                if let Err(position) = checker.check(&chunk.buffer[..chunk.len as usize]) {
                    return Fault::Corrupt { position };
                }
                link.shard.moved(0, u64::from(chunk.len));
            }
            Ok(Received::Eof) => return Fault::Short,
            Ok(Received::Failed(errno)) => return Fault::of_stream(errno),
            Err(fault) => return fault,
        }
    }
}
