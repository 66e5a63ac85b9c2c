//! The dialects: what each daemon's messages mean. One file a daemon.
//!
//! A dialect is a pure function from the message of a line (the text after `program[pid]: `) to a
//! [`Verdict`]. It borrows, allocates nothing, keeps nothing, and never counts.
//!
//! To add one: write `dialect/<daemon>.rs` with `pub fn parse(program: &[u8], pid: &[u8], message: &[u8]) -> Verdict`,
//! add its line to [`Dialect`] below, and a folder of cases under `tests/golden/<daemon>/`.

mod quick;

use crate::event::Verdict;
use crate::wide::Wide;
use quick::Line;

macro_rules! dialects {
    ($($variant:ident = $module:ident, $name:literal;)*) => {
        $(pub mod $module;)*

        /// A known daemon.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Dialect {
            $(#[doc = concat!("The dialect `", $name, "`.")] $variant,)*
        }

        impl Dialect {
            /// Every dialect, in the order of the registry.
            pub const ALL: &'static [Dialect] = &[$(Dialect::$variant),*];

            /// The name shown by `explain` and in the summary.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Dialect::$variant => $name,)* }
            }

            /// Whether this daemon writes under the given program name (`postfix/smtpd`, `named`, …).
            /// Called once for each program name that a file holds, not once a line.
            #[must_use]
            pub fn claims(self, program: &[u8]) -> bool {
                match self { $(Dialect::$variant => $module::claims(program),)* }
            }

            /// Whether a message without a program name (a file written by the daemon itself) looks
            /// like this daemon's. Called once for each line that has no program name.
            #[must_use]
            pub fn recognizes(self, message: &[u8]) -> bool {
                match self { $(Dialect::$variant => $module::recognizes(message),)* }
            }

            /// Reads one message. `program` and `pid` come from the header and may be empty.
            #[inline(always)]
            #[must_use]
            pub fn parse<'a>(self, program: &'a [u8], pid: &'a [u8], message: &'a [u8]) -> Verdict<'a> {
                match self { $(Dialect::$variant => $module::parse(program, pid, message),)* }
            }
        }
    };
}

// The registry: one line a dialect. The order decides who is asked first.
dialects! {
    Bind = bind, "bind";
    Iplog = iplog, "iplog";
    Postfix = postfix, "postfix";
    Sendmail = sendmail, "sendmail";
    Dovecot = dovecot, "dovecot";
    Qpopper = qpopper, "qpopper";
    Netfilter = netfilter, "netfilter";
}

impl Dialect {
    /// Reads a message of a usual shape by bit masks of 64 bytes at a time: the answer of [`Dialect::parse`], or none
    /// where that must be asked. The message stands in `block` from `from` to `end`; what follows the line may be
    /// looked at, but does not change the answer.
    #[inline(always)]
    #[must_use]
    pub fn quick<'a, W: Wide>(
        self,
        wide: W,
        program: &'a [u8],
        pid: &'a [u8],
        block: &'a [u8],
        from: usize,
        end: usize,
    ) -> Option<Verdict<'a>> {
        let line = Line { wide, block, end };
        match self {
            Dialect::Postfix => postfix::quick::read(line, from),
            Dialect::Sendmail => sendmail::quick::read(line, from),
            Dialect::Dovecot if program == b"dovecot" => dovecot::quick::read(line, from),
            Dialect::Qpopper => qpopper::quick::read(line, pid, from),
            _ => None,
        }
    }

    /// The dialect of a program name, if one claims it.
    #[must_use]
    pub fn of_program(program: &[u8]) -> Option<Dialect> {
        Dialect::ALL.iter().copied().find(|d| d.claims(program))
    }

    /// The dialect of a message that came without a program name, if one recognizes it.
    #[must_use]
    pub fn of_message(message: &[u8]) -> Option<Dialect> {
        Dialect::ALL.iter().copied().find(|d| d.recognizes(message))
    }
}
