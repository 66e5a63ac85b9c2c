//! BIND 9.16 query log lines through syslog.

use std::io::{self, Write};

use crate::Options;
use crate::random::{Random, Zipf};
use crate::time::{Clock, LOWER, decimal, hexadecimal};

/// With this exponent, 20,000 clients and 10 million lines in a day make 3.2 million (client, minute) pairs.
const CLIENT_EXPONENT: f64 = 1.05;
const NAME_EXPONENT: f64 = 0.95;
const NAMES: usize = 200_000;

/// Query types by their share in percent; reverse look-ups have names of their own.
const TYPES: [(&str, u64); 8] = [
    ("A", 58),
    ("AAAA", 20),
    ("PTR", 9),
    ("HTTPS", 5),
    ("MX", 3),
    ("TXT", 3),
    ("NS", 1),
    ("SRV", 1),
];
const FLAGS: [&str; 6] = ["+E(0)K", "+E(0)", "+", "+E(0)DC", "-E(0)DC", "+E(0)TK"];
const HOSTS: [&str; 12] = [
    "www",
    "mail",
    "api",
    "img",
    "cdn",
    "static",
    "assets",
    "login",
    "news",
    "update",
    "ns2",
    "telemetry",
];
const WORDS: [&str; 16] = [
    "harbor", "lantern", "meadow", "quartz", "saffron", "timber", "velvet", "willow", "copper", "ember",
    "falcon", "granite", "juniper", "marble", "orchid", "pepper",
];
const ENDINGS: [&str; 6] = [
    ".example.com",
    ".example.net",
    ".example.org",
    ".co.example",
    ".example",
    ".test",
];

pub(crate) fn write(sink: &mut impl Write, options: &Options) -> io::Result<()> {
    let mut random = Random::new(options.seed);
    let clients: Vec<Vec<u8>> = (0..options.clients as u64)
        .map(|k| address(k, options.ipv6 && k % 2 == 1))
        .collect();
    let names: Vec<Vec<u8>> = (0..NAMES as u64).map(|_| name(&mut random)).collect();
    let reverse: Vec<Vec<u8>> = (0..NAMES as u64).map(|_| reverse_name(&mut random)).collect();
    let client_law = Zipf::new(clients.len(), CLIENT_EXPONENT);
    let name_law = Zipf::new(NAMES, NAME_EXPONENT);
    let types: Vec<&str> = TYPES
        .iter()
        .flat_map(|&(name, share)| std::iter::repeat_n(name, share as usize))
        .collect();
    let headers: Vec<String> = (1..=options.servers)
        .map(|k| format!(" ns{k} named[{}]: client @0x7f", 1200 + k))
        .collect();
    let mut clock = Clock::new();
    let mut line = Vec::with_capacity(512);
    let seconds = options.minutes * 60;
    for number in 0..options.lines {
        let late = if options.disorder == 0 {
            0
        } else {
            random.below(options.disorder + 1)
        };
        let second = (number as u128 * u128::from(seconds) / u128::from(options.lines)) as u64;
        let server = if headers.len() == 1 {
            0
        } else {
            random.below(headers.len() as u64) as usize
        };
        let bits = random.next();
        let qtype = types[random.below(100) as usize];

        line.clear();
        line.extend_from_slice(clock.text(second.saturating_sub(late)));
        line.extend_from_slice(headers[server].as_bytes());
        hexadecimal(&mut line, bits, 10, LOWER);
        line.push(b' ');
        line.extend_from_slice(&clients[client_law.draw(&mut random)]);
        line.push(b'#');
        decimal(&mut line, 1024 + (bits >> 40) % 64_000);
        line.extend_from_slice(b" (");
        let start = line.len();
        if options.unique_names {
            hexadecimal(&mut line, number.wrapping_mul(0x9E37_79B9_7F4A_7C15), 16, LOWER);
            line.extend_from_slice(b".example.com");
        } else {
            let pool = if qtype == "PTR" { &reverse } else { &names };
            line.extend_from_slice(&pool[name_law.draw(&mut random)]);
        }
        let end = line.len();
        line.extend_from_slice(b"): query: ");
        line.extend_from_within(start..end);
        line.extend_from_slice(b" IN ");
        line.extend_from_slice(qtype.as_bytes());
        line.push(b' ');
        line.extend_from_slice(FLAGS[(bits >> 20) as usize % FLAGS.len()].as_bytes());
        line.extend_from_slice(b" (10.0.0.53)\n");
        sink.write_all(&line)?;
    }
    Ok(())
}

/// The address of a client: spread over 10.0.0.0/8, or over 2001:db8::/32.
pub(crate) fn address(number: u64, ipv6: bool) -> Vec<u8> {
    let mixed = Random::new(number + 77).next();
    if ipv6 {
        let (net, host) = (number % 4096, mixed >> 32);
        format!("2001:db8:{net:x}::{:x}:{:x}", host >> 16, host & 0xffff).into_bytes()
    } else {
        format!("10.{}.{}.{}", mixed % 200, number >> 8 & 255, number & 255).into_bytes()
    }
}

fn pick<'a>(random: &mut Random, from: &[&'a str]) -> &'a str {
    from[random.below(from.len() as u64) as usize]
}

fn name(random: &mut Random) -> Vec<u8> {
    let number = random.below(10_000);
    let (host, word, ending) = (pick(random, &HOSTS), pick(random, &WORDS), pick(random, &ENDINGS));
    match random.below(5) {
        0 => format!("{host}.{word}{}{ending}", number % 900),
        1 | 2 => format!("{word}{number}{ending}"),
        3 => format!(
            "{host}{}.{word}-{}{number}{ending}",
            number % 9,
            pick(random, &WORDS)
        ),
        _ => format!("{host}.{word}{}{ending}", number % 90),
    }
    .into_bytes()
}

fn reverse_name(random: &mut Random) -> Vec<u8> {
    let bits = random.next();
    format!(
        "{}.{}.{}.{}.in-addr.arpa",
        bits & 255,
        bits >> 8 & 255,
        bits >> 16 & 255,
        bits >> 24 & 127
    )
    .into_bytes()
}
