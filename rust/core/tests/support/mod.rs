//! Reads the golden cases and compares them with what the dialects say.
//!
//! A case is a folder `tests/golden/<daemon>/<sentence>/` with two files:
//!
//! * `input.log` — whole lines as a log file holds them, bytes as they are;
//! * `expected.json` — an array with one object for each line that is not empty, in order.
//!
//! The keys of an object (a key that is left out has the value in brackets):
//!
//! | key | meaning |
//! | --- | --- |
//! | `line` | number of the line in `input.log`, from 1; must be there |
//! | `dialect` | name of the dialect that took the line, `null` for none; must be there |
//! | `kind` | name of the kind, `null` for a line that is not counted; must be there |
//! | `client` | spelling of the client's address [`""`] |
//! | `query_type` | name of the query type [`"other"`] |
//! | `name` | query name as spelled [`""`] |
//! | `recipients` | number of addresses [0] |
//! | `account` | account name [`""`] |
//! | `target`, `port` | destination of a dropped packet [`""`, 0] |
//! | `hold`, `cancel` | identifier of the relation to another line [none] |
//! | `reason` | for `kind: null`: `"ignored: WORD"` or `"unmatched: WORD"` with the dialect's word; a line that no dialect takes has `"no dialect"` |
//! | `count` | how often the line counts; the dialect does not know it, readers of whole files do [1] |
//! | `note` | why the case is as it is; for people |
//!
//! Bytes that are no UTF-8 are written as U+FFFD. A key that is not in the table is an error, so that
//! a misspelled key cannot hide a failure.
//!
//! The line is taken apart by [`split`], a rule of four lines that needs no header parser: what is
//! tested here is the dialect. Run the tests with `SEISMOLOG_GOLDEN=write` to write `expected.json` of
//! the folders that have none; what was written must then be read by a person, not believed.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use seismolog_core::dialect::Dialect;
use seismolog_core::event::{Memory, Verdict};
use serde_json::Value;

/// What a line is, in the words of `expected.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expectation {
    /// Number of the line, from 1.
    pub line: u64,
    /// Name of the dialect, or none.
    pub dialect: Option<String>,
    /// Name of the kind, or none.
    pub kind: Option<String>,
    /// Client as spelled.
    pub client: String,
    /// Name of the query type; empty for a line that is not counted.
    pub query_type: String,
    /// Query name as spelled.
    pub name: String,
    /// Addresses that the line stands for.
    pub recipients: u64,
    /// Account name.
    pub account: String,
    /// Destination of a dropped packet.
    pub target: String,
    /// Destination port of a dropped packet.
    pub port: u64,
    /// Identifier under [`Memory::Hold`].
    pub hold: Option<String>,
    /// Identifier under [`Memory::Cancel`].
    pub cancel: Option<String>,
    /// Why the line is not counted; empty for an event.
    pub reason: String,
}

/// Program, pid and message of a line: the tag is the first word that ends in `: ` after at least one
/// other word, and is made of the letters of a program name. A line without one is all message, but
/// for the date and time of BIND's own file channel, which are cut.
#[must_use]
pub fn split(line: &[u8]) -> (&[u8], &[u8], &[u8]) {
    if let Some(rest) = after_bind_stamp(line) {
        return (b"", b"", rest);
    }
    let mut start = 0;
    for (at, pair) in line.windows(2).enumerate() {
        if pair == b": " {
            let tag = &line[start..at];
            let (program, pid) = match tag.strip_suffix(b"]").and_then(|t| {
                let open = t.iter().position(|&b| b == b'[')?;
                Some((&t[..open], &t[open + 1..]))
            }) {
                Some(pair) => pair,
                None => (tag, &b""[..]),
            };
            let named = program
                .first()
                .is_some_and(|b| b.is_ascii_alphabetic() || *b == b'/')
                && program
                    .iter()
                    .all(|b| b.is_ascii_alphanumeric() || b"._/-".contains(b));
            if start > 0 && named {
                return (program, pid, &line[at + 2..]);
            }
            return (b"", b"", line);
        }
        if pair[0] == b' ' {
            start = at + 1;
        }
    }
    (b"", b"", line)
}

/// The text after `15-Jul-2002 18:00:01.123 `.
fn after_bind_stamp(line: &[u8]) -> Option<&[u8]> {
    const PATTERN: &[u8] = b"00-aaa-0000 00:00:00.000 ";
    let head = line.get(..PATTERN.len())?;
    head.iter()
        .zip(PATTERN)
        .all(|(b, p)| match p {
            b'0' => b.is_ascii_digit(),
            b'a' => b.is_ascii_alphabetic(),
            _ => b == p,
        })
        .then(|| &line[PATTERN.len()..])
}

/// What the dialects make of one line.
#[must_use]
pub fn observe(number: u64, line: &[u8]) -> Expectation {
    let (program, pid, message) = split(line);
    let dialect = if program.is_empty() {
        Dialect::of_message(message)
    } else {
        Dialect::of_program(program)
    };
    let mut seen = Expectation {
        line: number,
        ..Expectation::default()
    };
    let Some(dialect) = dialect else {
        seen.reason = "no dialect".into();
        return seen;
    };
    seen.dialect = Some(dialect.name().into());
    match dialect.parse(program, pid, message) {
        Verdict::Ignored(word) => seen.reason = format!("ignored: {word}"),
        Verdict::Unmatched(word) => seen.reason = format!("unmatched: {word}"),
        Verdict::Event(event) => {
            seen.kind = Some(event.kind.name().into());
            seen.client = text(event.client);
            seen.query_type = event.query_type.name().into();
            seen.name = text(event.name);
            seen.recipients = event.recipients.into();
            seen.account = text(event.account);
            seen.target = text(event.target);
            seen.port = event.port.into();
            match event.memory {
                Memory::None => {}
                Memory::Hold(id) => seen.hold = Some(text(id)),
                Memory::Cancel(id) => seen.cancel = Some(text(id)),
            }
        }
    }
    seen
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The folder `tests/golden` of the project.
#[must_use]
pub fn golden_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden")
}

/// The folder of real log lines, where there is one: `SEISMOLOG_CORPORA`, else `shared/corpora`
/// beside the checkout.
#[must_use]
pub fn corpora() -> Option<PathBuf> {
    let path = match std::env::var_os("SEISMOLOG_CORPORA") {
        Some(path) => PathBuf::from(path),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora"),
    };
    path.is_dir().then_some(path)
}

/// The lines of a file without their line ends (LF or CR LF); empty lines are left out.
#[must_use]
pub fn lines(bytes: &[u8]) -> Vec<(u64, &[u8])> {
    bytes
        .split(|&b| b == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .zip(1..)
        .filter(|(line, _)| !line.is_empty())
        .map(|(line, number)| (number, line))
        .collect()
}

/// Runs every case of a daemon and panics with all differences at once. Returns the number of lines.
///
/// # Panics
/// If a case differs, a folder is incomplete, or the daemon has no cases.
pub fn check(daemon: &str) -> usize {
    let root = golden_root().join(daemon);
    let mut folders: Vec<PathBuf> = std::fs::read_dir(&root)
        .unwrap_or_else(|error| panic!("{}: {error}", root.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    assert!(!folders.is_empty(), "{}: no cases", root.display());
    let (mut total, mut report) = (0, String::new());
    for folder in folders {
        let case = folder.strip_prefix(&root).unwrap().display().to_string();
        let input = std::fs::read(folder.join("input.log"))
            .unwrap_or_else(|error| panic!("{case}: input.log: {error}"));
        let seen: Vec<Expectation> = lines(&input)
            .into_iter()
            .map(|(number, line)| observe(number, line))
            .collect();
        total += seen.len();
        let path = folder.join("expected.json");
        if !path.exists() && std::env::var("SEISMOLOG_GOLDEN").is_ok_and(|mode| mode == "write") {
            std::fs::write(&path, render(&seen)).unwrap();
            continue;
        }
        let raw =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{case}: expected.json: {error}"));
        let expected = read(&raw).unwrap_or_else(|error| panic!("{case}: expected.json: {error}"));
        if seen.len() != expected.len() {
            let _ = writeln!(
                report,
                "{case}: {} lines, {} expectations",
                seen.len(),
                expected.len()
            );
        }
        for (seen, expected) in seen.iter().zip(&expected) {
            if seen != expected {
                let _ = writeln!(
                    report,
                    "{case}:{}\n  expected {}\n  seen     {}",
                    expected.line,
                    row(expected),
                    row(seen)
                );
            }
        }
    }
    assert!(report.is_empty(), "\n{report}");
    total
}

/// Reads the text of an `expected.json`.
///
/// # Errors
/// A sentence that says what is wrong, with the number of the object.
pub fn read(raw: &str) -> Result<Vec<Expectation>, String> {
    let items: Vec<Value> = serde_json::from_str(raw).map_err(|error| error.to_string())?;
    items
        .iter()
        .enumerate()
        .map(|(at, item)| expectation(item).map_err(|error| format!("object {at}: {error}")))
        .collect()
}

fn expectation(item: &Value) -> Result<Expectation, String> {
    let fields = item.as_object().ok_or("not an object")?;
    for must in ["line", "dialect", "kind"] {
        if !fields.contains_key(must) {
            return Err(format!("key {must} is missing"));
        }
    }
    let mut out = Expectation::default();
    for (key, value) in fields {
        let text = || {
            value
                .as_str()
                .map(str::to_owned)
                .ok_or(format!("key {key} cannot be {value}"))
        };
        let number = || value.as_u64().ok_or(format!("key {key} cannot be {value}"));
        match key.as_str() {
            "dialect" | "kind" if value.is_null() => {}
            "line" => out.line = number()?,
            "dialect" => out.dialect = Some(text()?),
            "kind" => out.kind = Some(text()?),
            "client" => out.client = text()?,
            "query_type" => out.query_type = text()?,
            "name" => out.name = text()?,
            "recipients" => out.recipients = number()?,
            "account" => out.account = text()?,
            "target" => out.target = text()?,
            "port" => out.port = number()?,
            "hold" => out.hold = Some(text()?),
            "cancel" => out.cancel = Some(text()?),
            "reason" => out.reason = text()?,
            "count" => drop(number()?),
            "note" => drop(text()?),
            _ => return Err(format!("key {key} is unknown")),
        }
    }
    if out.kind.is_some() && out.query_type.is_empty() {
        out.query_type = "other".into();
    }
    if out.kind.is_some() != out.reason.is_empty() {
        return Err("a line has either a kind or a reason".into());
    }
    Ok(out)
}

/// The text of an `expected.json`: one object a line.
#[must_use]
pub fn render(rows: &[Expectation]) -> String {
    let rows: Vec<String> = rows.iter().map(|r| format!("  {}", row(r))).collect();
    format!("[\n{}\n]\n", rows.join(",\n"))
}

fn quote(text: &str) -> String {
    Value::from(text).to_string()
}

fn row(r: &Expectation) -> String {
    let optional = |value: &Option<String>| value.as_ref().map_or_else(|| "null".into(), |v| quote(v));
    let mut out = format!(
        "{{\"line\": {}, \"dialect\": {}, \"kind\": {}",
        r.line,
        optional(&r.dialect),
        optional(&r.kind)
    );
    let query_type = if r.query_type == "other" {
        ""
    } else {
        &r.query_type
    };
    for (key, value) in [
        ("client", r.client.as_str()),
        ("query_type", query_type),
        ("name", &r.name),
        ("account", &r.account),
        ("target", &r.target),
    ] {
        if !value.is_empty() {
            let _ = write!(out, ", \"{key}\": {}", quote(value));
        }
    }
    for (key, value) in [("port", r.port), ("recipients", r.recipients)] {
        if value != 0 {
            let _ = write!(out, ", \"{key}\": {value}");
        }
    }
    for (key, value) in [("hold", &r.hold), ("cancel", &r.cancel)] {
        if let Some(value) = value {
            let _ = write!(out, ", \"{key}\": {}", quote(value));
        }
    }
    if !r.reason.is_empty() {
        let _ = write!(out, ", \"reason\": {}", quote(&r.reason));
    }
    out.push('}');
    out
}

/// Whether a slice lies within another (empty slices lie anywhere).
#[must_use]
pub fn lies_in(part: &[u8], whole: &[u8]) -> bool {
    part.is_empty()
        || (part.as_ptr() >= whole.as_ptr() && part.as_ptr_range().end <= whole.as_ptr_range().end)
}

/// Whether every slice of a verdict lies in one of the texts that the dialect was given.
#[must_use]
pub fn borrows_from(verdict: &Verdict<'_>, texts: &[&[u8]]) -> bool {
    let Verdict::Event(event) = verdict else {
        return true;
    };
    let memory = match event.memory {
        Memory::None => &b""[..],
        Memory::Hold(id) | Memory::Cancel(id) => id,
    };
    [event.client, event.name, event.account, event.target, memory]
        .iter()
        .all(|part| texts.iter().any(|text| lies_in(part, text)))
}
