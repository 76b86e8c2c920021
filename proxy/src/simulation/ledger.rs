//! Who has sent what to whom: the truth that every delivery is held against.
//!
//! A stream says who it is in its first eight bytes; the rest follows from that. So a receiver can check every byte
//! without having been told who is at the other end, and a stream that goes to the wrong peer, loses a byte or repeats
//! one is found out at that byte.

use balance_engine::{clock::Timestamp, driver::Errno, rng::splitmix64};
use std::cell::RefCell;

/// Bytes in which a stream says who sends it.
pub(super) const HEADER: u64 = 8;
/// In the upper half of a header, so that bytes from elsewhere are no header.
const MAGIC: u64 = 0x5ea1_ed00_0000_0000;

/// One end of a simulated connection: a client or what a backend accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Party(usize);

impl Party {
    pub(super) fn index(self) -> usize {
        self.0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Client,
    Backend,
}

/// How a party's stream ended, as far as it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// A FIN, and nothing before it that would make it doubtful.
    End,
    Reset(Errno),
}

#[derive(Debug)]
pub(super) struct Record {
    pub(super) role: Role,
    /// Handed to the socket: an upper bound of what may have left.
    pub(super) offered: u64,
    /// Known to have left.
    pub(super) sent: u64,
    pub(super) received: u64,
    /// It has closed its half, or all of it, in order.
    pub(super) fin: bool,
    /// … with a send under way, so that nobody knows how much of it left.
    pub(super) cut: bool,
    pub(super) peer: Option<Party>,
    pub(super) told: Option<Told>,
    pub(super) connected: Option<Timestamp>,
    pub(super) last_sent: Timestamp,
    pub(super) last_received: Timestamp,
    pub(super) fin_at: Timestamp,
    pub(super) ended_at: Timestamp,
    /// Everything went as its script says, to the last byte and the last FIN.
    pub(super) complete: bool,
    pub(super) over: bool,
    header: u64,
}

#[derive(Default)]
pub(super) struct Ledger {
    records: RefCell<Vec<Record>>,
    /// What went wrong, oldest first.
    failures: RefCell<Vec<String>>,
}

impl Ledger {
    pub(super) fn enter(&self, role: Role) -> Party {
        let mut records = self.records.borrow_mut();
        records.push(Record {
            role,
            offered: 0,
            sent: 0,
            received: 0,
            fin: false,
            cut: false,
            peer: None,
            told: None,
            connected: None,
            last_sent: Timestamp::START,
            last_received: Timestamp::START,
            fin_at: Timestamp::START,
            ended_at: Timestamp::START,
            complete: false,
            over: false,
            header: 0,
        });
        Party(records.len() - 1)
    }

    pub(super) fn with<T>(&self, party: Party, look: impl FnOnce(&mut Record) -> T) -> T {
        look(&mut self.records.borrow_mut()[party.0])
    }

    pub(super) fn fail(&self, what: String) {
        self.failures.borrow_mut().push(what);
    }

    pub(super) fn first_failure(&self) -> Option<String> {
        self.failures.borrow().first().cloned()
    }

    pub(super) fn all_over(&self) -> bool {
        self.records.borrow().iter().all(|record| record.over)
    }

    pub(super) fn parties(&self) -> Vec<Party> {
        (0..self.records.borrow().len()).map(Party).collect()
    }

    /// Fills `to` with what `party` sends from `offset` on.
    pub(super) fn write(&self, party: Party, offset: u64, to: &mut [u8]) {
        let mut at = offset;
        let mut rest = to;
        while !rest.is_empty() {
            let word = word(party, at / 8).to_le_bytes();
            let skip = (at % 8) as usize;
            let len = rest.len().min(8 - skip);
            rest[..len].copy_from_slice(&word[skip..skip + len]);
            rest = &mut rest[len..];
            at += len as u64;
        }
    }

    /// `me` has received these bytes.
    pub(super) fn receive(&self, me: Party, bytes: &[u8], now: Timestamp) {
        let (mut at, mut rest) = self.with(me, |record| {
            record.last_received = now;
            (record.received, bytes)
        });
        while at < HEADER && !rest.is_empty() {
            self.with(me, |record| record.header |= u64::from(rest[0]) << (at * 8));
            at += 1;
            rest = &rest[1..];
            if at == HEADER {
                let header = self.with(me, |record| record.header);
                self.pair(me, header);
            }
        }
        self.with(me, |record| record.received += bytes.len() as u64);
        let Some(peer) = self.with(me, |record| record.peer) else { return };
        let offered = self.with(peer, |record| record.offered);
        let received = self.with(me, |record| record.received);
        if received > offered {
            self.fail(format!("{me:?} received {received} bytes of the {offered} that {peer:?} has sent"));
        }
        if at < HEADER {
            return;
        }
        if let Some(wrong) = first_difference(peer, at, rest) {
            self.fail(format!("{me:?} received byte {wrong} of {peer:?} wrong: lost, repeated, or out of order"));
        }
    }

    fn pair(&self, me: Party, header: u64) {
        let peer = Party((header ^ MAGIC) as usize);
        if peer.0 >= self.records.borrow().len() {
            return self.fail(format!("{me:?} received a header that nobody sends: {header:x}"));
        }
        for (one, other) in [(me, peer), (peer, me)] {
            let known = self.with(one, |record| *record.peer.get_or_insert(other));
            if known != other {
                self.fail(format!("{one:?} is connected to {known:?} and to {other:?}"));
            }
        }
        if self.with(me, |record| record.role) == self.with(peer, |record| record.role) {
            self.fail(format!("{me:?} and {peer:?} are on the same side"));
        }
    }

    /// `me` was told that its peer has closed in order. It must have, and nothing may be missing.
    pub(super) fn receive_end(&self, me: Party, now: Timestamp) {
        let (peer, received) = self.with(me, |record| {
            record.told = Some(Told::End);
            record.ended_at = now;
            (record.peer, record.received)
        });
        let Some(peer) = peer else { return };
        let (fin, cut, sent, offered) = self.with(peer, |r| (r.fin, r.cut, r.sent, r.offered));
        if !fin {
            let both = self.with(me, |r| format!("{r:?}")) + &self.with(peer, |r| format!(" and {r:?}"));
            self.fail(format!("{me:?} was told the end of a stream that {peer:?} has not ended: {both}"));
        }
        let whole = if cut { (sent..=offered).contains(&received) } else { received == sent };
        if !whole {
            let both = self.with(me, |r| format!("{r:?}")) + &self.with(peer, |r| format!(" and {r:?}"));
            self.fail(format!("{me:?} was told the end after {received} of the {sent} bytes of {peer:?}: {both}"));
        }
    }

    /// Ends that were told to parties who never learned from whom: there must have been as many that were sent so.
    pub(super) fn check_nameless_ends(&self) {
        for role in [Role::Client, Role::Backend] {
            let records = self.records.borrow();
            let nameless = |r: &&Record| r.peer.is_none();
            let told = records.iter().filter(nameless).filter(|r| r.role == role && r.told == Some(Told::End)).count();
            let ended = records.iter().filter(nameless).filter(|r| r.role != role && r.fin && r.sent < HEADER).count();
            if told > ended {
                let all: Vec<_> = records.iter().filter(nameless).collect();
                self.fail(format!(
                    "{told} nameless streams ended for {role:?} parties, but only {ended} were ended: {all:#?}"
                ));
            }
        }
    }
}

fn word(party: Party, index: u64) -> u64 {
    if index == 0 {
        return party.0 as u64 ^ MAGIC;
    }
    let mut state = (party.0 as u64) << 40 ^ index;
    splitmix64(&mut state)
}

/// The offset of the first byte that is not what `party` sends there.
fn first_difference(party: Party, offset: u64, bytes: &[u8]) -> Option<u64> {
    let mut at = offset;
    let mut rest = bytes;
    while !rest.is_empty() {
        let word = word(party, at / 8).to_le_bytes();
        let skip = (at % 8) as usize;
        let len = rest.len().min(8 - skip);
        if rest[..len] != word[skip..skip + len] {
            let differs = (0..len).find(|i| rest[*i] != word[skip + i])?;
            return Some(at + differs as u64);
        }
        rest = &rest[len..];
        at += len as u64;
    }
    None
}
