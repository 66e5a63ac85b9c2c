//! Numbers for the places that lines come from, the same across restarts.
//!
//! A source is a listener (`tcp 127.0.0.1:5514`), a followed file (`file /var/log/mail.log`), the
//! journal or standard input: whatever has a clock and an order of its own. Connections are not: with
//! one connection a line their number has no end.

use std::collections::HashMap;

/// The numbers and their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    names: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl Sources {
    /// The number of a name; a new one where it has none. The second value says that it is new.
    pub fn number(&mut self, name: &str) -> (u32, bool) {
        if let Some(&number) = self.numbers.get(name) {
            return (number, false);
        }
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(name.to_owned());
        self.numbers.insert(name.to_owned(), number);
        (number, true)
    }

    /// Puts a name back under the number it had. Numbers between are left without a name.
    pub fn put(&mut self, number: u32, name: &str) {
        let at = number as usize;
        if at > self.names.len() + (1 << 20) {
            return; // no log of ours says so
        }
        if self.names.len() <= at {
            self.names.resize(at + 1, String::new());
        }
        self.names[at] = name.to_owned();
        self.numbers.insert(name.to_owned(), number);
    }

    /// The name of a number.
    #[must_use]
    pub fn name(&self, number: u32) -> Option<&str> {
        self.names.get(number as usize).map(String::as_str)
    }

    /// Every number with its name.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &str)> {
        (0u32..).zip(self.names.iter().map(String::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_number() {
        let mut sources = Sources::default();
        assert_eq!(sources.number("tcp a"), (0, true));
        assert_eq!(sources.number("udp a"), (1, true));
        assert_eq!(sources.number("tcp a"), (0, false));
        let mut again = Sources::default();
        for (number, name) in sources.iter().collect::<Vec<_>>().into_iter().rev() {
            again.put(number, name);
        }
        assert_eq!(again.name(1), Some("udp a"));
        assert_eq!(again.number("tcp a"), (0, false));
        assert_eq!(again.number("x"), (2, true));
    }
}
