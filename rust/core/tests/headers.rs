//! Golden cases of line headers, and real lines.
//!
//! A case is a folder `tests/golden/syslog/<sentence>/` with `input.log` and `expected.json`, which
//! holds one object for each line: stamp (`yearless`, `local` or `absolute` and its seconds, or null),
//! host, program, pid, message, and the repetition that the message tells, if any. Bytes that are not
//! UTF-8 are shown as U+FFFD. With `SEISMOLOG_BLESS=1` the expected files are written anew, to be read
//! before they are committed.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use seismolog_core::syslog::header::{Clock, Header, Scratch, parse};
use seismolog_core::syslog::repeat;
use serde_json::{Value, json};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/syslog")
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.split(|byte| *byte == b'\n')
}

fn describe(header: &Header<'_>) -> Value {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let stamp = header.stamp.map(|stamp| {
        let clock = match stamp.clock {
            Clock::Yearless => "yearless",
            Clock::Local => "local",
            Clock::Absolute => "absolute",
        };
        json!({"clock": clock, "seconds": stamp.seconds})
    });
    let mut value = json!({
        "stamp": stamp,
        "host": text(header.host),
        "program": text(header.program),
        "pid": text(header.pid),
        "message": text(header.message),
    });
    if let Some(times) = repeat::last_message(header.message) {
        value["repeated"] = json!(times);
    }
    if let Some((times, inner)) = repeat::wrapped(header.message) {
        value["repeated"] = json!(times);
        value["inner"] = json!(text(inner));
    }
    value
}

/// One object a line, so that a change shows as a changed line.
fn render(values: &[Value]) -> String {
    let rows: Vec<String> = values.iter().map(|value| format!("  {value}")).collect();
    format!("[\n{}\n]\n", rows.join(",\n"))
}

#[test]
fn golden_cases() -> io::Result<()> {
    let bless = env::var_os("SEISMOLOG_BLESS").is_some();
    let mut cases = 0;
    let mut wrong = Vec::new();
    for entry in fs::read_dir(golden())? {
        let folder = entry?.path();
        if !folder.is_dir() {
            continue;
        }
        cases += 1;
        let input = fs::read(folder.join("input.log"))?;
        let mut scratch = Scratch::new();
        let found: Vec<Value> = lines(&input)
            .map(|line| describe(&parse(line, &mut scratch)))
            .collect();
        let file = folder.join("expected.json");
        if bless {
            fs::write(&file, render(&found))?;
            continue;
        }
        let expected: Vec<Value> = serde_json::from_slice(&fs::read(&file)?)?;
        if expected.len() != found.len() {
            wrong.push(format!(
                "{}: {} lines, {} expected",
                folder.display(),
                found.len(),
                expected.len()
            ));
        }
        for (number, (expected, found)) in expected.iter().zip(&found).enumerate() {
            if expected != found {
                wrong.push(format!(
                    "{}:{}\n  expected {expected}\n  found    {found}",
                    folder.display(),
                    number + 1
                ));
            }
        }
    }
    assert!(cases >= 12, "{cases} cases");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// Where real lines lie, if they are there: they are no part of the project.
fn corpora() -> Option<PathBuf> {
    let folder = env::var_os("SEISMOLOG_CORPORA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora"),
        PathBuf::from,
    );
    folder.is_dir().then_some(folder)
}

#[test]
fn real_lines_are_taken_apart() -> io::Result<()> {
    let Some(corpora) = corpora() else { return Ok(()) };
    let show = env::var_os("SEISMOLOG_SHOW").is_some();
    let (mut total, mut timed, mut tagged) = (0u32, 0u32, 0u32);
    for entry in fs::read_dir(corpora.join("syslog-framing"))? {
        let path = entry?.path();
        let text = fs::read(&path)?;
        let mut scratch = Scratch::new();
        for line in lines(&text) {
            let header = parse(line, &mut scratch);
            if show {
                println!("{}\n    {}", String::from_utf8_lossy(line), describe(&header));
            }
            total += 1;
            timed += u32::from(header.stamp.is_some());
            tagged += u32::from(!header.program.is_empty());
            if line.first() != Some(&b'{') {
                let text = line.strip_suffix(b"\r").unwrap_or(line);
                assert!(
                    text.ends_with(header.message),
                    "{}",
                    String::from_utf8_lossy(line)
                );
            }
        }
    }
    // A third of these files is output of tests, or malformed on purpose.
    assert!(timed * 10 >= total * 5, "{timed} of {total} lines with a time");
    assert!(
        tagged * 10 >= total * 4,
        "{tagged} of {total} lines with a program"
    );
    Ok(())
}
