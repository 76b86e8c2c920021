//! ClientHellos, built from their parts.

/// Bytes after their length, in two bytes.
fn long(content: &[u8]) -> Vec<u8> {
    [&(content.len() as u16).to_be_bytes()[..], content].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &long(content)].concat()
}

/// The message, for this name if it is not empty, and with these protocols if there are any; `padding` makes it longer.
fn message(name: &str, protocols: &[&str], padding: usize) -> Vec<u8> {
    let mut extensions = extension(0x5a5a, &vec![0; padding]);
    if !name.is_empty() {
        extensions.extend(extension(0, &long(&[&[0], &long(name.as_bytes())[..]].concat())));
    }
    if !protocols.is_empty() {
        let list: Vec<u8> = protocols.iter().flat_map(|p| [&[p.len() as u8][..], p.as_bytes()].concat()).collect();
        extensions.extend(extension(16, &long(&list)));
    }
    let body = [&[3, 3][..], &[7; 32], &[0], &long(&[0x13, 0x01]), &[1, 0], &long(&extensions)].concat();
    [&[1], &(body.len() as u32).to_be_bytes()[1..], &body].concat()
}

/// In records of at most so many bytes.
pub(crate) fn in_records(size: usize, name: &str, protocols: &[&str], padding: usize) -> Vec<u8> {
    message(name, protocols, padding).chunks(size).flat_map(|part| [&[22, 3, 1][..], &long(part)].concat()).collect()
}

/// As a browser would send one.
pub(crate) fn hello(name: &str, protocols: &[&str]) -> Vec<u8> {
    in_records(1 << 14, name, protocols, 64)
}
