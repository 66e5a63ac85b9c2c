//! As much JSON as the golden cases need: objects, arrays, strings, whole numbers, null, booleans.

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A whole number from 0.
    Number(u64),
    /// A string.
    String(String),
    /// An array.
    Array(Vec<Json>),
    /// An object, keys in the order of the text.
    Object(Vec<(String, Json)>),
}

/// Reads one value that fills the text.
///
/// # Errors
/// What was expected, and the byte offset.
pub fn parse(text: &str) -> Result<Json, String> {
    let mut reader = Reader { text, at: 0 };
    let value = reader.value()?;
    reader.space();
    if reader.at == text.len() {
        Ok(value)
    } else {
        Err(reader.expected("the end"))
    }
}

/// A string as JSON writes it.
#[must_use]
pub fn quote(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn expected(&self, what: &str) -> String {
        format!("expected {what} at byte {}", self.at)
    }

    fn space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn takes(&mut self, word: &str) -> bool {
        self.space();
        let found = self.text[self.at..].starts_with(word);
        if found {
            self.at += word.len();
        }
        found
    }

    fn value(&mut self) -> Result<Json, String> {
        if self.takes("null") {
            Ok(Json::Null)
        } else if self.takes("true") {
            Ok(Json::Bool(true))
        } else if self.takes("false") {
            Ok(Json::Bool(false))
        } else if self.takes("\"") {
            self.string().map(Json::String)
        } else if self.takes("[") {
            let mut items = Vec::new();
            if self.takes("]") {
                return Ok(Json::Array(items));
            }
            loop {
                items.push(self.value()?);
                if self.takes("]") {
                    return Ok(Json::Array(items));
                }
                if !self.takes(",") {
                    return Err(self.expected("`,` or `]`"));
                }
            }
        } else if self.takes("{") {
            let mut fields = Vec::new();
            if self.takes("}") {
                return Ok(Json::Object(fields));
            }
            loop {
                if !self.takes("\"") {
                    return Err(self.expected("a key"));
                }
                let key = self.string()?;
                if !self.takes(":") {
                    return Err(self.expected("`:`"));
                }
                fields.push((key, self.value()?));
                if self.takes("}") {
                    return Ok(Json::Object(fields));
                }
                if !self.takes(",") {
                    return Err(self.expected("`,` or `}`"));
                }
            }
        } else {
            let rest = &self.text[self.at..];
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let number = rest[..digits].parse().map_err(|_| self.expected("a value"))?;
            self.at += digits;
            Ok(Json::Number(number))
        }
    }

    /// The string whose opening quote has been read.
    fn string(&mut self) -> Result<String, String> {
        let mut out = String::new();
        let mut chars = self.text[self.at..].char_indices();
        while let Some((offset, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += offset + 1;
                    return Ok(out);
                }
                '\\' => match chars.next().map(|(_, c)| c) {
                    Some('n') => out.push('\n'),
                    Some('t') => out.push('\t'),
                    Some('r') => out.push('\r'),
                    Some('u') => {
                        let code: String = chars.by_ref().take(4).map(|(_, c)| c).collect();
                        let code = u32::from_str_radix(&code, 16).ok().and_then(char::from_u32);
                        out.push(
                            code.ok_or_else(|| self.expected("four hexadecimal digits of a character"))?,
                        );
                    }
                    Some(c @ ('"' | '\\' | '/')) => out.push(c),
                    _ => return Err(self.expected("an escape")),
                },
                c => out.push(c),
            }
        }
        Err(self.expected("a closing quote"))
    }
}
