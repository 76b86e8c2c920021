//! For addresses that find no entry: a count-min sketch (Cormode and Muthukrishnan, "An improved data stream summary").
//!
//! Four rows of cells; an address has one cell in each, which it shares with others. Every cell says at least what is
//! true of each of its addresses, so the least of the four does too, and an address never gets more than its limits.
//! It errs by refusing, and it is the heavy ones that it always refuses.
//!
//! How often it is wrong, with `W` cells a row ([`ENTRIES_PER_CELL`] entries of the table for each):
//! * Connections: with `C` connections counted here, an address is taken to have more than `e · C / W` too many with a
//!   probability of `e⁻⁴`, 2 %. So with limit `m`, about `W · m / 3` connections fit in beside those of the table.
//! * Rate: an address that has not taken a token is refused only if each of its four cells has been emptied by others.
//!   With `L` addresses charged here while a bucket takes to fill, and a burst of one, that is a probability of
//!   `(1 − e^(−L/W))⁴`: 2 % with `L = W/2`. A larger burst makes it rarer. With many times `W`, as in a flood from more
//!   addresses than there are entries, most new addresses are refused, and those that have an entry go on as before.

use super::Usage;
use balance_engine::{clock::Timestamp, rng::splitmix64};

const ROWS: usize = 4;
/// So that the four rows together take a sixth of what the table does.
const ENTRIES_PER_CELL: usize = 16;
/// Also a small table has enough of them that the heavy ones do not hide everybody else.
const ROW_CELLS_MIN: usize = 64;

#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    /// Not earlier than for any address of this cell.
    full_at: Timestamp,
    /// Those of all addresses of this cell.
    connections: u32,
}

const _: () = assert!(size_of::<Cell>() == 16);
const _: () = assert!(super::BYTES_PER_ENTRY == 24 + ROWS * size_of::<Cell>() / ENTRIES_PER_CELL);

#[derive(Debug)]
pub(super) struct Overflow {
    rows: [Box<[Cell]>; ROWS],
    /// Connections counted here.
    connections: u64,
    /// The latest `full_at` there is. When it has passed and there are no connections, no cell says anything, and none
    /// is looked at.
    full_at: Timestamp,
}

impl Overflow {
    pub(super) fn new(entries_max: usize) -> Self {
        let width = entries_max.div_ceil(ENTRIES_PER_CELL).clamp(ROW_CELLS_MIN, u32::MAX as usize);
        let rows = std::array::from_fn(|_| vec![Cell::default(); width].into());
        Self { rows, connections: 0, full_at: Timestamp::START }
    }

    /// What the address has used at the most.
    pub(super) fn usage(&mut self, hash: u64, now: Timestamp) -> Usage {
        if self.connections == 0 && self.full_at <= now {
            return Usage::default();
        }
        let most = Usage { connections: u32::MAX, full_at: Timestamp::NEVER };
        self.cells(hash).into_iter().fold(most, |least, cell| Usage {
            connections: least.connections.min(cell.connections),
            full_at: least.full_at.min(cell.full_at),
        })
    }

    /// `full_at` is what follows from [`Overflow::usage`] for this address, and so for each of its cells enough: a cell
    /// that is later already was charged by another address and stays as it is ("conservative update").
    pub(super) fn charge(&mut self, hash: u64, full_at: Timestamp, connections: u32) {
        for cell in self.cells(hash) {
            cell.full_at = cell.full_at.max(full_at);
            cell.connections += connections;
        }
        self.full_at = self.full_at.max(full_at);
        self.connections += u64::from(connections);
    }

    /// A connection that was counted here has ended.
    pub(super) fn release(&mut self, hash: u64) {
        for cell in self.cells(hash) {
            cell.connections -= 1;
        }
        self.connections -= 1;
    }

    /// By other bits than those that chose the sets: addresses that met there do not all meet here again.
    fn cells(&mut self, hash: u64) -> [&mut Cell; ROWS] {
        let mut state = hash;
        let [a, b] = [splitmix64(&mut state), splitmix64(&mut state)];
        let mut choices = [a as u32, (a >> 32) as u32, b as u32, (b >> 32) as u32].into_iter();
        self.rows.each_mut().map(|row| {
            let choice = u64::from(choices.next().unwrap_or_default());
            let index = (choice * row.len() as u64) >> 32;
            &mut row[index as usize]
        })
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.rows.iter().map(|row| size_of_val(&**row)).sum()
    }
}
