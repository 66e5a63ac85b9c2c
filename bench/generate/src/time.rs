//! The time of a line: runs evenly from 2002-07-01 00:00:00 over the minutes asked for.

const MONTHS: [(&str, u64); 6] = [
    ("Jul", 31),
    ("Aug", 31),
    ("Sep", 30),
    ("Oct", 31),
    ("Nov", 30),
    ("Dec", 31),
];

/// Keeps the text of the last second, since most lines share theirs with the line before.
pub(crate) struct Clock {
    second: u64,
    text: [u8; 15],
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self {
            second: u64::MAX,
            text: *b"Jul  1 00:00:00",
        }
    }

    /// `Jul 15 18:00:01` for a number of seconds since 1 July.
    pub(crate) fn text(&mut self, second: u64) -> &[u8; 15] {
        if second != self.second {
            self.second = second;
            let mut day = second / 86_400;
            let mut month = MONTHS[0].0;
            for (name, days) in MONTHS {
                month = name;
                if day < days {
                    break;
                }
                day -= days;
            }
            let day = day + 1;
            self.text[..3].copy_from_slice(month.as_bytes());
            self.text[4] = if day < 10 { b' ' } else { b'0' + (day / 10) as u8 };
            self.text[5] = b'0' + (day % 10) as u8;
            let time = second % 86_400;
            for (at, part) in [(7, time / 3600), (10, time / 60 % 60), (13, time % 60)] {
                self.text[at] = b'0' + (part / 10) as u8;
                self.text[at + 1] = b'0' + (part % 10) as u8;
            }
        }
        &self.text
    }
}

/// Appends a number in decimal.
pub(crate) fn decimal(line: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    line.extend_from_slice(&digits[at..]);
}

/// Appends the lowest `digits` hexadecimal digits of a number.
pub(crate) fn hexadecimal(line: &mut Vec<u8>, number: u64, digits: u32, alphabet: &[u8; 16]) {
    for at in (0..digits).rev() {
        line.push(alphabet[(number >> (4 * at) & 15) as usize]);
    }
}

pub(crate) const LOWER: &[u8; 16] = b"0123456789abcdef";
pub(crate) const UPPER: &[u8; 16] = b"0123456789ABCDEF";
