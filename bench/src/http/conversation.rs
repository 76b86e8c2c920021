//! HTTP/1.1 with pipelining, as a [`Conversation`].

use super::{
    Answer, Conversation,
    head::Memory,
    request::Request,
    response::{Done, Head, Reader},
};
use crate::tally::Fault;
use std::{collections::VecDeque, rc::Rc};

/// One connection after the other to one server: the requests of a list, again and again.
pub(crate) struct H1 {
    requests: Rc<[Request]>,
    /// Of the request that is asked next.
    next: usize,
    depth: usize,
    /// Asked and not answered, oldest first; the last `unsent` of them are not sent yet, or not to their end.
    asked: VecDeque<usize>,
    unsent: usize,
    /// Bytes of the first unsent one that were given out.
    given: usize,
    reader: Reader,
}

impl H1 {
    /// `first`: which of the requests is the first, so that connections do not all ask the same at once.
    pub(crate) fn new(requests: Rc<[Request]>, first: usize, depth: usize, memory: Rc<Memory<Head>>) -> Self {
        let next = first % requests.len().max(1);
        let asked = VecDeque::with_capacity(depth);
        Self { requests, next, depth, asked, unsent: 0, given: 0, reader: Reader::new(memory) }
    }

    fn answer(&mut self, done: Done) -> Answer {
        self.drop_oldest();
        Answer { status: done.status, last: done.close }
    }

    /// A server may answer before it has heard everything; then the rest need not be sent, and the connection is of no
    /// use after.
    fn drop_oldest(&mut self) {
        self.asked.pop_front();
        if self.unsent > self.asked.len() {
            self.unsent = self.asked.len();
            self.given = 0;
        }
    }

    fn is_sent(&self) -> bool {
        self.unsent < self.asked.len()
    }
}

impl Conversation for H1 {
    fn has_room(&self) -> bool {
        self.asked.len() < self.depth
    }

    fn ask(&mut self) {
        self.asked.push_back(self.next);
        self.unsent += 1;
        self.next += 1;
        if self.next == self.requests.len() {
            self.next = 0;
        }
    }

    fn has_to_say(&self) -> bool {
        self.unsent > 0
    }

    fn fill(&mut self, out: &mut [u8]) -> usize {
        let mut filled = 0;
        while self.unsent > 0 && filled < out.len() {
            let request = self.asked[self.asked.len() - self.unsent];
            let bytes = &self.requests[request].bytes[self.given..];
            let now = bytes.len().min(out.len() - filled);
            out[filled..filled + now].copy_from_slice(&bytes[..now]);
            filled += now;
            self.given += now;
            if now == bytes.len() {
                self.given = 0;
                self.unsent -= 1;
            }
        }
        filled
    }

    fn hear(&mut self, bytes: &mut &[u8]) -> Result<Option<Answer>, Fault> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let Some(oldest) = self.asked.front() else { return Err(Fault::Extra) };
        let expected = self.requests[*oldest].expected;
        let whole = self.is_sent();
        match self.reader.read(bytes, expected)? {
            None => Ok(None),
            Some(done) => {
                let mut answer = self.answer(done);
                answer.last |= !whole;
                Ok(Some(answer))
            }
        }
    }

    fn heard_end(&mut self) -> Result<Option<Answer>, Fault> {
        match self.reader.end()? {
            Some(done) => Ok(Some(self.answer(done))),
            None if self.asked.is_empty() => Ok(None),
            None => Err(Fault::Short),
        }
    }

    fn begin_again(&mut self) {
        self.reader.restart();
        self.unsent = self.asked.len();
        self.given = 0;
    }

    fn give_up(&mut self) {
        self.drop_oldest();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{
        request::{Content, Form},
        url::Url,
    };

    fn conversation(depth: usize) -> H1 {
        let form =
            Form { method: "GET".into(), headers: Vec::new(), body: Content::None, keep_alive: true, checks: true };
        let request = |path: &str| Request::new(&form, &Url::parse(&format!("h{path}")).expect("a URL"));
        H1::new([request("/a"), request("/b")].into(), 0, depth, Rc::new(Memory::new()))
    }

    fn said(conversation: &mut H1, room: usize) -> String {
        let mut out = vec![0; room];
        let filled = conversation.fill(&mut out);
        String::from_utf8_lossy(&out[..filled]).into_owned()
    }

    const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";

    #[test]
    fn requests_go_out_in_order_and_in_pieces() {
        let mut talk = conversation(2);
        talk.ask();
        assert!(talk.has_room());
        talk.ask();
        assert!(!talk.has_room());
        let mut text = String::new();
        while let piece = said(&mut talk, 5)
            && !piece.is_empty()
        {
            text += &piece;
        }
        assert_eq!(text, "GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n");
        let bytes = OK.repeat(2);
        let mut bytes = &bytes[..];
        let answer = Answer { status: 200, last: false };
        assert_eq!(talk.hear(&mut bytes), Ok(Some(answer)));
        assert_eq!(talk.hear(&mut bytes), Ok(Some(answer)));
        assert_eq!(talk.hear(&mut bytes), Ok(None));
        assert!(talk.has_room());
        assert_eq!(talk.heard_end(), Ok(None));
    }

    #[test]
    fn what_nobody_asked_for_is_too_much() {
        let mut talk = conversation(1);
        talk.ask();
        said(&mut talk, 100);
        let bytes = [OK, b"!"].concat();
        let mut bytes = &bytes[..];
        assert!(talk.hear(&mut bytes).is_ok_and(|answer| answer.is_some()));
        assert_eq!(talk.hear(&mut bytes), Err(Fault::Extra));
    }

    #[test]
    fn on_a_new_connection_the_unanswered_are_asked_again() {
        let mut talk = conversation(3);
        (0..3).for_each(|_| talk.ask());
        said(&mut talk, 1000);
        assert!(talk.hear(&mut &b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"[..]).is_ok());
        talk.begin_again();
        let text = said(&mut talk, 1000);
        assert!(text.starts_with("GET /b") && text.contains("GET /a"), "{text}");
        assert_eq!(talk.heard_end(), Err(Fault::Short));
    }

    #[test]
    fn an_answer_before_the_request_was_sent_is_the_last() {
        let mut talk = conversation(1);
        talk.ask();
        said(&mut talk, 5);
        assert_eq!(talk.hear(&mut &OK[..]), Ok(Some(Answer { status: 200, last: true })));
        assert_eq!(said(&mut talk, 100), "", "the rest is not sent");
    }
}
