//! Histograms in the forms that other tools read: HdrHistogram's compressed V2, and its base 64.

use base64::{Engine, engine::general_purpose::STANDARD};
use hdrhistogram::{
    Histogram,
    serialization::{Deserializer, Serializer, V2DeflateSerializer},
};

/// HdrHistogram's V2 form, compressed (the one that begins with the cookie 0x1c849304).
pub(crate) fn encode(histogram: &Histogram<u64>) -> Vec<u8> {
    let mut bytes = Vec::new();
    match V2DeflateSerializer::new().serialize(histogram, &mut bytes) {
        Ok(_) => bytes,
        // Writing to memory does not fail, and no count is near the limit.
        Err(_) => Vec::new(),
    }
}

/// What [`encode`] made.
pub(crate) fn decode(bytes: &[u8]) -> Option<Histogram<u64>> {
    Deserializer::new().deserialize(&mut &*bytes).ok()
}

/// The same as text; its values are nanoseconds.
pub(crate) fn text(histogram: &Histogram<u64>) -> String {
    STANDARD.encode(encode(histogram))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let mut histogram = Histogram::<u64>::new_with_max(3_600_000_000_000, 3).unwrap();
        for value in [1_000, 2_000_000, 3_000_000_000] {
            histogram.saturating_record(value);
        }
        let text = text(&histogram);
        assert!(text.starts_with("HISTFAAA"), "{text}: how every compressed V2 histogram begins");
        assert_eq!(decode(&STANDARD.decode(text).unwrap()), Some(histogram));
        assert_eq!(decode(b"nonsense"), None);
    }
}
