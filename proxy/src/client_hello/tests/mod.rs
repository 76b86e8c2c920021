//! Hellos are built here from their parts, so that each part can lie; each is also cut into segments and records.

mod content;
mod framing;
mod routes;

use super::*;

/// An extension of this type.
fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector16(content)].concat()
}

fn vector8(content: &[u8]) -> Vec<u8> {
    [&[u8::try_from(content.len()).unwrap()], content].concat()
}

fn vector16(content: &[u8]) -> Vec<u8> {
    [&u16::try_from(content.len()).unwrap().to_be_bytes(), content].concat()
}

fn sni(name: &[u8]) -> Vec<u8> {
    extension(0, &vector16(&[&[0], &vector16(name)[..]].concat()))
}

fn alpn(protocols: &[&[u8]]) -> Vec<u8> {
    extension(16, &vector16(&protocols.iter().flat_map(|protocol| vector8(protocol)).collect::<Vec<_>>()))
}

/// A message of this type and content.
fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &u32::try_from(body.len()).unwrap().to_be_bytes()[1..], body].concat()
}

/// Everything up to the extensions.
fn start() -> Vec<u8> {
    [&[3, 3][..], &[0x5a; 32], &vector8(&[7; 32]), &vector16(&[0x13, 0x01, 0x0a, 0x0a]), &vector8(&[0])].concat()
}

/// A ClientHello with these extensions, as a message.
fn message(extensions: &[Vec<u8>]) -> Vec<u8> {
    handshake(1, &[start(), vector16(&extensions.concat())].concat())
}

/// A whole hello for this name with these protocols, in records of at most so many bytes.
pub(crate) fn hello_in(size: usize, name: &str, protocols: &[&[u8]]) -> Vec<u8> {
    records(&message(&[sni(name.as_bytes()), alpn(protocols)]), size)
}

/// `message` in records of at most so many bytes.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    message.chunks(size).flat_map(|content| [&[22, 3, 1][..], &vector16(content)].concat()).collect()
}

/// A whole hello, in one record where it fits.
fn hello(extensions: &[Vec<u8>]) -> Vec<u8> {
    records(&message(extensions), 1 << 14)
}

/// What is found, in a form that lives on: the name and the protocols.
type Found = (Option<String>, Vec<Vec<u8>>);

fn owned(hello: &Hello<'_>) -> Found {
    (hello.sni.map(str::to_owned), hello.alpn.iter().map(<[u8]>::to_vec).collect())
}

/// A verdict that lives on.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    More(usize),
    Found(Found),
    NotTls,
    Invalid(Invalid),
}

fn verdict(inspector: &mut Inspector, bytes: &[u8]) -> Verdict {
    match inspector.inspect(bytes) {
        Progress::NeedMore { at_least } => Verdict::More(at_least),
        Progress::Found(hello) => Verdict::Found(owned(&hello)),
        Progress::NotTls => Verdict::NotTls,
        Progress::Invalid(why) => Verdict::Invalid(why),
    }
}

/// Enough for two records, one of them full.
const BYTES_MAX: usize = 18 * 1024;

fn fresh() -> Inspector {
    Inspector::new(BYTES_MAX)
}

/// The verdict on `bytes`, which must be the same when they come one by one, and which no prefix has but for a refusal.
fn inspect(bytes: &[u8]) -> Verdict {
    let whole = verdict(&mut fresh(), bytes);
    let mut growing = fresh();
    let mut decided = None;
    for len in 0..=bytes.len() {
        let now = verdict(&mut growing, &bytes[..len]);
        if bytes.len() < 2000 {
            assert_eq!(verdict(&mut fresh(), &bytes[..len]), now, "a fresh look at {len} bytes is the same");
        }
        match (&decided, now) {
            (None, Verdict::More(at_least)) => assert!(at_least > 0),
            (None, first) => {
                assert!(len == bytes.len() || !matches!(first, Verdict::Found(_)) || whole == first);
                decided = Some(first);
            }
            (Some(first), later) => assert_eq!(*first, later, "after {len}"),
        }
    }
    assert_eq!(decided.unwrap_or_else(|| whole.clone()), whole);
    whole
}

fn found(name: Option<&str>, protocols: &[&[u8]]) -> Verdict {
    Verdict::Found((name.map(str::to_owned), protocols.iter().map(|protocol| protocol.to_vec()).collect()))
}
