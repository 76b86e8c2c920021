//! An HTTP/1.1 server whose paths say how it behaves. Fast where it behaves well: the head of a request that is the
//! same as the last one is compared and not parsed, and a short answer is copied and not made.

mod answer;
mod path;
mod request;

use crate::{alarms::Alarms, http::BODY_HEADER, http::head::Memory};
use answer::{Answers, Prepared};
use balance_engine::{
    Handle, Received,
    buf::{Buffer, Class},
    clock::Timestamp,
    executor::Admission,
    net::{Listener, Socket},
};
use path::{Form, Sin};
use request::{Bad, Event, Head, Reader, Request};
use std::{
    future::poll_fn,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
};

/// Until when nobody is answered, in nanoseconds of the engine's clock; all shards of a server share it.
#[derive(Clone, Default)]
pub(super) struct Stall(Arc<AtomicU64>);

impl Stall {
    fn until(&self) -> Timestamp {
        Timestamp::from_nanos(self.0.load(Ordering::Relaxed))
    }

    /// One that goes on is not made longer.
    fn begin(&self, now: Timestamp, until: Timestamp) {
        if self.until() <= now {
            self.0.store(until.as_nanos(), Ordering::Relaxed);
        }
    }
}

/// What the connections of a shard share.
struct Shard {
    handle: Handle,
    heads: Rc<Memory<Head>>,
    answers: Rc<Answers>,
    alarms: Rc<Alarms>,
    stall: Stall,
}

/// Accept until aborted.
pub(super) async fn accept_all(handle: Handle, mut listener: Listener, stall: Stall, alarms: Rc<Alarms>) {
    let shard =
        Rc::new(Shard { handle: handle.clone(), heads: Rc::new(Memory::new()), answers: Rc::default(), alarms, stall });
    loop {
        let accepted = poll_fn(|context| {
            if !handle.spend(context) {
                return Poll::Pending;
            }
            listener.poll_accept(context)
        });
        let Ok(accepted) = accepted.await else { continue };
        let shard = Rc::clone(&shard);
        let _admitted = handle.spawn(Admission::Always, async move {
            let reader = Reader::new(Rc::clone(&shard.heads), Rc::clone(&shard.answers));
            Connection { shard, socket: accepted.socket, out: None }.serve(reader).await;
        });
    }
}

/// How a connection ends, or why it goes on.
enum Next {
    On,
    Close,
    Reset,
}

/// The peer is gone, or memory is.
struct Gone;

struct Connection {
    shard: Rc<Shard>,
    socket: Socket,
    /// What is to be sent, and how much that is.
    out: Option<(Buffer, usize)>,
}

const PIECE: Class = Class::Medium;

impl Connection {
    async fn serve(mut self, mut reader: Reader) {
        let handle = self.shard.handle.clone();
        loop {
            let received = poll_fn(|context| {
                if !handle.spend(context) {
                    return Poll::Pending;
                }
                self.socket.poll_recv(context)
            });
            let Received::Data(chunk) = received.await else { return };
            let mut bytes = &chunk.buffer[..chunk.len as usize];
            loop {
                let next = match reader.read(&mut bytes) {
                    Ok(None) if bytes.is_empty() => break,
                    Ok(None) => continue,
                    Ok(Some(Event::Request(request))) => self.answer(&request).await,
                    Ok(Some(Event::Continue)) => self.say(b"HTTP/1.1 100 Continue\r\n\r\n").await.map(|()| Next::On),
                    Err(Bad) => self.refuse(400).await,
                };
                match next {
                    Ok(Next::On) => {}
                    Ok(Next::Close) => {
                        let _ = self.flush().await;
                        return;
                    }
                    Ok(Next::Reset) => return self.socket.reset(),
                    Err(Gone) => return,
                }
            }
            if self.flush().await.is_err() {
                return;
            }
        }
    }

    async fn answer(&mut self, request: &Request) -> Result<Next, Gone> {
        let prepared = &request.head.answer;
        let now = self.shard.handle.now();
        if !prepared.behaviour.stall.is_zero() {
            self.shard.stall.begin(now, now + prepared.behaviour.stall);
        }
        let stalled = self.shard.stall.until();
        if stalled > now {
            self.flush().await?;
            self.shard.alarms.sleep_until(stalled).await;
        }
        if !request.is_right {
            return self.refuse(422).await;
        }
        if prepared.behaviour.is_plain() && prepared.rest == 0 && prepared.behaviour.form == Form::Length {
            self.say(&prepared.bytes).await?;
            return Ok(if prepared.closes { Next::Close } else { Next::On });
        }
        self.answer_slowly(request, prepared).await
    }

    async fn answer_slowly(&mut self, request: &Request, prepared: &Prepared) -> Result<Next, Gone> {
        let behaviour = &prepared.behaviour;
        let drawn = prepared.draw();
        let delay = behaviour.delay(drawn);
        if !delay.is_zero() {
            let until = self.shard.handle.now() + delay;
            self.flush().await?;
            self.shard.alarms.sleep_until(until).await;
        }
        if behaviour.error_rate > 0.0 && drawn < behaviour.error_rate {
            self.say(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n").await?;
            return Ok(Next::On);
        }
        match behaviour.sin {
            Sin::Reset => return Ok(Next::Reset),
            Sin::Never => {
                self.flush().await?;
                return self.wait_for_end().await;
            }
            _ => {}
        }
        if prepared.echoes() {
            self.echo(prepared, &request.content).await?;
        } else {
            self.say(&prepared.bytes).await?;
            if !prepared.no_body {
                self.say_rest(prepared).await?;
            }
        }
        if behaviour.sin == Sin::Extra {
            self.say(b"surplus").await?;
        }
        Ok(if prepared.closes { Next::Close } else { Next::On })
    }

    async fn echo(&mut self, prepared: &Prepared, content: &[u8]) -> Result<(), Gone> {
        let length = content.len();
        self.say(&prepared.bytes).await?;
        self.say(format!("Content-Length: {length}\r\n{BODY_HEADER}: {length}\r\n\r\n").as_bytes()).await?;
        if prepared.no_body { Ok(()) } else { self.say(content).await }
    }

    /// The part of a body that is made as it is sent.
    async fn say_rest(&mut self, prepared: &Prepared) -> Result<(), Gone> {
        let behaviour = &prepared.behaviour;
        let mut left = if behaviour.sin == Sin::Half { prepared.rest / 2 } else { prepared.rest };
        let mut wrong = (behaviour.sin == Sin::Wrong).then_some(left / 2);
        let mut pattern = prepared.pattern;
        let mut piece = [0; 8192];
        while left > 0 {
            let now = left.min(piece.len() as u64) as usize;
            pattern.fill(&mut piece[..now]);
            if let Some(place) = wrong.take() {
                match usize::try_from(place) {
                    Ok(place) if place < now => piece[place] ^= 0x20,
                    _ => wrong = Some(place - now as u64),
                }
            }
            if behaviour.form == Form::Chunked {
                self.say(format!("{now:x}\r\n").as_bytes()).await?;
            }
            self.say(&piece[..now]).await?;
            if behaviour.form == Form::Chunked {
                self.say(b"\r\n").await?;
            }
            left -= now as u64;
        }
        if behaviour.form == Form::Chunked && behaviour.sin != Sin::Half {
            self.say(b"0\r\n\r\n").await?;
        }
        Ok(())
    }

    async fn refuse(&mut self, status: u16) -> Result<Next, Gone> {
        let mut head = answer::head(status, true);
        head.extend_from_slice(b"Content-Length: 0\r\n\r\n");
        self.say(&head).await?;
        Ok(Next::Close)
    }

    /// Until the client gives up.
    async fn wait_for_end(&mut self) -> Result<Next, Gone> {
        while let Received::Data(_) = self.socket.recv().await {}
        Err(Gone)
    }

    /// What is said goes out when it fills a buffer, or when there is nothing more to answer.
    async fn say(&mut self, mut bytes: &[u8]) -> Result<(), Gone> {
        while !bytes.is_empty() {
            let (buffer, filled) = match &mut self.out {
                Some(out) => out,
                none => {
                    let pool = self.shard.handle.pool();
                    let class = if bytes.len() <= 4096 { Class::Small } else { PIECE };
                    none.insert((pool.take(class).ok_or(Gone)?, 0))
                }
            };
            let now = bytes.len().min(buffer.capacity() - *filled);
            buffer[*filled..*filled + now].copy_from_slice(&bytes[..now]);
            *filled += now;
            bytes = &bytes[now..];
            if !bytes.is_empty() {
                self.flush().await?;
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        let Some((buffer, filled)) = self.out.take() else { return Ok(()) };
        self.socket.send_all(buffer, filled as u32).await.map(drop).map_err(|_| Gone)
    }
}

#[cfg(test)]
mod tests;
