//! A number for each request that no other request has, on whatever shard and in whatever run.

use std::{fmt, time::Duration};

use balance_config::model::AcceptId;

use super::view::{Fields, Name};

/// What may be taken over from somebody else.
const TAKEN_BYTES_MAX: usize = 128;

/// Where a shard takes new numbers from.
#[derive(Clone, Debug)]
pub(crate) struct IdSource {
    seed: u64,
    count: u64,
}

/// 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestId([u8; 32]);

impl IdSource {
    /// `seed` must differ from shard to shard and from run to run: from the system's source of randomness.
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, count: 0 }
    }

    /// `now` is since the Unix epoch.
    ///
    /// RFC 9562 section 5.7: 48 bits of milliseconds, the version, 12 bits, the variant, 62 bits. The 74 bits between
    /// are a random start and a count, so that a shard never repeats one and two shards meet only when their starts do.
    pub(crate) fn next(&mut self, now: Duration) -> RequestId {
        let count = self.count;
        self.count = count.wrapping_add(1);
        let millis = now.as_millis() as u64;
        let high = millis << 16 | 0x7000 | count & 0xfff;
        let low = self.seed.wrapping_add(count >> 12);
        let low = 0x8000_0000_0000_0000 | low & 0x3fff_ffff_ffff_ffff;
        let mut digits = [0; 32];
        for (digit, shift) in digits.iter_mut().zip((0..32).rev()) {
            let word = if shift >= 16 { high } else { low };
            *digit = b"0123456789abcdef"[(word >> (shift % 16 * 4)) as usize & 15];
        }
        RequestId(digits)
    }
}

impl RequestId {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

/// The number that a request brought, if it counts.
pub(crate) fn taken<'a, F: Fields>(
    fields: &'a F,
    name: &'a Name,
    accept: AcceptId,
    is_trusted: bool,
) -> Option<&'a [u8]> {
    let is_wanted = match accept {
        AcceptId::Always => true,
        AcceptId::Trusted => is_trusted,
        AcceptId::Never => false,
    };
    let mut values = fields.values(name).filter(|_| is_wanted);
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let is_good = (1..=TAKEN_BYTES_MAX).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic);
    is_good.then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn numbers_differ_between_requests_shards_and_runs() {
        let now = Duration::from_millis(0x0123_4567_89ab);
        let mut seen = HashSet::new();
        for seed in [0, 1 << 40, 1 << 61, 0x1234_5678_9abc_def0] {
            let mut source = IdSource::new(seed);
            for _ in 0..10_000 {
                assert!(seen.insert(source.next(now).0));
            }
        }
    }

    #[test]
    fn the_form_is_that_of_a_uuid_of_version_7() {
        let mut source = IdSource::new(0xffff_ffff_ffff_ffff);
        let id = format!("{:?}", source.next(Duration::from_millis(0x0123_4567_89ab)));
        assert_eq!(id, "0123456789ab7000bfffffffffffffff");
        let id = format!("{:?}", source.next(Duration::from_millis(0x0123_4567_89ac)));
        assert_eq!(&id[..16], "0123456789ac7001");
    }
}
