//! What every fuzz target does with its bytes: they are read as a log file, line by line.
//!
//! A panic is a finding, and so is a broken promise: what a dialect answers must be borrowed from what
//! it was given, the same bytes must give the same answer, and a kind must be one that the daemon can
//! cause. Seeds are the golden cases themselves (`seeds/` links there), so that a new case is a new seed.

use seismolog_core::dialect::Dialect;
use seismolog_core::event::{Event, Kind, Memory, Verdict};
use seismolog_core::syslog::header::{self, Scratch};
use seismolog_core::syslog::repeat;

/// Fuzzes one dialect: each line as a message of its own, and as a line with a header.
pub fn dialect(dialect: Dialect, data: &[u8]) {
    let mut scratch = Scratch::default();
    for line in data.split(|&b| b == b'\n') {
        let _ = dialect.claims(line);
        let _ = dialect.recognizes(line);
        message(dialect, b"", b"", line);
        let header = header::parse(line, &mut scratch);
        let _ = dialect.claims(header.program);
        message(dialect, header.program, header.pid, header.message);
    }
}

fn message(dialect: Dialect, program: &[u8], pid: &[u8], message: &[u8]) {
    let verdict = dialect.parse(program, pid, message);
    assert_eq!(
        verdict,
        dialect.parse(program, pid, message),
        "the answer depends on more than the line"
    );
    if let Verdict::Event(event) = verdict {
        let id = match event.memory {
            Memory::None => &b""[..],
            Memory::Hold(id) | Memory::Cancel(id) => id,
        };
        for part in [event.client, event.name, event.account, event.target, id] {
            let borrowed = [program, pid, message].iter().any(|text| lies_in(part, text));
            assert!(
                part.is_empty() || borrowed,
                "not borrowed from the line: {part:?}"
            );
        }
        assert!(
            is_possible(dialect, &event),
            "{dialect:?} cannot cause {:?}",
            event.kind
        );
    }
}

fn lies_in(part: &[u8], whole: &[u8]) -> bool {
    whole.as_ptr() <= part.as_ptr() && part.as_ptr_range().end <= whole.as_ptr_range().end
}

/// Whether a daemon can cause such an event at all.
fn is_possible(dialect: Dialect, event: &Event<'_>) -> bool {
    let dns = matches!(event.kind, Kind::DnsQuery | Kind::DnsDenied | Kind::DnsError);
    match dialect {
        Dialect::Bind => dns && is_word(event.client),
        Dialect::Iplog => event.kind == Kind::DnsQuery && is_word(event.client),
        Dialect::Netfilter => event.kind == Kind::FirewallDrop && is_word(event.client),
        _ => !dns && event.kind != Kind::FirewallDrop,
    }
}

/// Whether something is there, and is one word.
fn is_word(text: &[u8]) -> bool {
    !text.is_empty() && !text.contains(&b' ')
}

/// Fuzzes the reading of headers: what it answers lies in the line or in what was unescaped from it.
pub fn header(data: &[u8]) {
    let mut scratch = Scratch::default();
    for line in data.split(|&b| b == b'\n') {
        let first = header::parse(line, &mut scratch);
        // Only a line of JSON is unescaped, and that never makes it longer.
        for part in [first.host, first.program, first.pid, first.message] {
            assert!(part.len() <= line.len(), "a field is longer than its line");
        }
        let seen = format!("{first:?}");
        assert_eq!(
            seen,
            format!("{:?}", header::parse(line, &mut Scratch::default())),
            "depends on earlier lines"
        );
    }
}

/// Fuzzes the reading of repetitions.
pub fn repeat(data: &[u8]) {
    for line in data.split(|&b| b == b'\n') {
        let _ = repeat::last_message(line);
        if let Some((_, inner)) = repeat::wrapped(line) {
            assert!(lies_in(inner, line) && inner.len() < line.len());
        }
    }
}

/// Fuzzes the ways of a line: what a block remembers of the lines before, and reads of a line at once, changes nothing.
pub fn lines(data: &[u8]) {
    use seismolog_core::count::worker::Worker;
    use seismolog_core::count::{Limits, Options};
    // A line is known by what it begins with from the third time on, and read at once where more stands behind it.
    let behind = [b'x'; seismolog_core::count::usual::SPAN];
    let text = [data, b"\n", data, b"\n", data, b"\n", &behind].concat();
    let count = |blocks: &mut dyn Iterator<Item = &[u8]>, details: bool| {
        let options = Options {
            state: true,
            details,
            ..Options::default()
        };
        // A line may have to seal the bin that another server's line is counted in.
        let limits = Limits {
            open_bins: if details { 2 } else { 1000 },
            ..Limits::default()
        };
        let mut worker = Worker::new(&options, &limits);
        for block in blocks {
            worker.lines(block);
        }
        worker.seal_all();
        let rows = std::mem::take(&mut worker.columns);
        let tally = format!("{:?} {:?} {:?}", worker.full_tally(), worker.traffic, rows.runs);
        (
            tally,
            rows.client,
            rows.count,
            rows.types,
            rows.distinct,
            rows.state,
        )
    };
    for details in [false, true] {
        let whole = count(&mut std::iter::once(&text[..]), details);
        let alone = count(&mut text.split_inclusive(|b| *b == b'\n'), details);
        assert!(
            whole == alone,
            "a line depends on its block:\n{whole:?}\n{alone:?}"
        );
    }
}

/// The target of one dialect.
#[macro_export]
macro_rules! fuzz_dialect {
    ($dialect:ident) => {
        libfuzzer_sys::fuzz_target!(|data: &[u8]| {
            $crate::dialect(seismolog_core::dialect::Dialect::$dialect, data);
        });
    };
}

/// The first two bytes say how long a line may be and where the stream is cut; the rest is the stream.
fn cut(data: &[u8]) -> Option<(usize, [&[u8]; 2], &[u8])> {
    let ([most, at], stream) = data.split_first_chunk::<2>()?;
    let most = 1 + usize::from(*most) * 4;
    let (head, tail) = stream.split_at(usize::from(*at) * stream.len() / 256);
    Some((most, [head, tail], stream))
}

/// Fuzzes the framing of a stream.
pub fn framing(data: &[u8]) {
    use seismolog_core::live::framing::Framer;
    let Some((most, halves, whole)) = cut(data) else {
        return;
    };
    let read = |pieces: &[&[u8]]| {
        let mut framer = Framer::default();
        let (mut batch, mut lines, mut well) = (Vec::new(), 0u32, true);
        for piece in pieces {
            let start = batch.len();
            framer.carry(&mut batch);
            batch.extend_from_slice(piece);
            let (found, result) = framer.take(&mut batch, start, most);
            lines += found.lines;
            well = result.is_ok();
            if !well {
                break;
            }
        }
        if well {
            lines += framer.finish(&mut batch, most).lines;
        }
        (batch, lines, well)
    };
    let (batch, lines, well) = read(&[whole]);
    assert!(batch.is_empty() || batch.ends_with(b"\n"));
    assert_eq!(batch.iter().filter(|b| **b == b'\n').count(), lines as usize);
    assert!(batch.split(|b| *b == b'\n').all(|line| line.len() <= most));
    assert_eq!(read(&halves), (batch, lines, well), "the cut changed the lines");
}

/// Fuzzes a RELP session.
pub fn relp(data: &[u8]) {
    use seismolog_core::live::relp::Relp;
    let Some((most, halves, whole)) = cut(data) else {
        return;
    };
    let read = |pieces: &[&[u8]]| {
        let mut relp = Relp::default();
        let mut batch = Vec::new();
        let (mut answers, mut commands) = (std::collections::VecDeque::new(), Vec::new());
        let mut well = true;
        // The session is open, so that messages are reached.
        for piece in std::iter::once(&&b"1 open 15 commands=syslog\n"[..]).chain(pieces) {
            let start = batch.len();
            relp.carry(&mut batch);
            batch.extend_from_slice(piece);
            well = relp
                .take(&mut batch, start, most, &mut answers, &mut commands)
                .1
                .is_ok();
            if !well {
                break;
            }
        }
        (batch, answers, commands, well)
    };
    let (batch, answers, commands, well) = read(&[whole]);
    let lines = batch.iter().filter(|b| **b == b'\n').count();
    assert!(lines <= answers.len() && (batch.is_empty() || batch.ends_with(b"\n")));
    assert_eq!(
        read(&halves),
        (batch, answers, commands, well),
        "the cut changed the session"
    );
}
