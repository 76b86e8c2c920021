//! Tables of messages: one row a message, columns parted by ` | `, the bytes last.

/// A row: what stands before the bytes, and the bytes.
pub(super) struct Row {
    pub(super) line: usize,
    pub(super) columns: Vec<&'static str>,
    pub(super) bytes: Vec<u8>,
}

/// Every row of a table with so many columns.
pub(super) fn rows(table: &'static str, columns: usize) -> Vec<Row> {
    let lines = table.lines().zip(1..).filter(|(text, _)| !text.is_empty() && !text.starts_with('#'));
    lines
        .map(|(text, line)| {
            let mut parts: Vec<_> = text.splitn(columns, " | ").collect();
            assert_eq!(parts.len(), columns, "line {line} has too few columns");
            let bytes = bytes(parts.pop().unwrap_or_default().as_bytes());
            Row { line, columns: parts.into_iter().map(str::trim).collect(), bytes }
        })
        .collect()
}

/// Escapes and repetitions undone.
fn bytes(mut text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some((first, rest)) = text.split_first() {
        text = match first {
            b'\\' => escape(rest, &mut bytes),
            b'{' => brace(rest, &mut bytes),
            plain => {
                bytes.push(*plain);
                rest
            }
        };
    }
    bytes
}

fn escape<'a>(text: &'a [u8], bytes: &mut Vec<u8>) -> &'a [u8] {
    let (letter, rest) = text.split_first().expect("something is escaped");
    let byte = match letter {
        b'r' => b'\r',
        b'n' => b'\n',
        b't' => b'\t',
        b'0' => 0,
        b'\\' => b'\\',
        b'x' => {
            let digits = std::str::from_utf8(&rest[..2]).expect("two digits");
            bytes.push(u8::from_str_radix(digits, 16).expect("two digits"));
            return &rest[2..];
        }
        other => panic!("\\{} is no escape", char::from(*other)),
    };
    bytes.push(byte);
    rest
}

fn brace<'a>(text: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let end = text.iter().position(|byte| *byte == b'}').unwrap_or(text.len());
    let (inside, rest) = text.split_at(end);
    let named: &[u8] = match inside {
        b"G" => b"GET / HTTP/1.1\r\nHost: a\r\n",
        b"P" => b"POST / HTTP/1.1\r\nHost: a\r\n",
        b"O" => b"HTTP/1.1 200 OK\r\n",
        b"E" => b"\r\n",
        _ => b"",
    };
    if !named.is_empty() {
        out.extend(named);
        return &rest[1..];
    }
    let times = inside.iter().rposition(|byte| *byte == b'*').and_then(|star| {
        let count = std::str::from_utf8(&inside[star + 1..]).ok()?.parse().ok()?;
        Some(bytes(&inside[..star]).repeat(count))
    });
    match times {
        Some(repeated) => {
            out.extend(repeated);
            &rest[1..]
        }
        None => {
            out.push(b'{');
            text
        }
    }
}

#[test]
fn rows_are_read() {
    let rows = rows("# a | b\n\nok  | x | {|}{ab*2}\\r\\n\\x41\\\\{E}| y\n", 3);
    assert_eq!(rows[0].columns, ["ok", "x"]);
    assert_eq!(rows[0].bytes, b"{|}abab\r\nA\\\r\n| y");
    assert_eq!(rows[0].line, 3);
}
