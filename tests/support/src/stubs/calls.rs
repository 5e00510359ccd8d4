//! What a stub wrote down.

/// One call of a stub's function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The function's name.
    pub function: String,
    /// The arguments in words: numbers in decimal (a C `bool` is 0 or 1), strings escaped (`\n`, `\t`, `\\`, and `\xHH`
    /// for what is not printable ASCII), `NULL`, arrays of strings as `[a,b]` (`,`, `[` and `]` escaped in them, and
    /// `[\e]` for one empty string), bytes as `length:FNV-1a hash`, hardware addresses as
    /// `5a:94:ef:e4:0c:ee`, and other pointers as `POINTER`.
    pub args: Vec<String>,
}

impl Call {
    pub(super) fn parse(line: &str) -> Call {
        let mut words = line.split('\t').map(str::to_owned);
        Call { function: words.next().unwrap_or_default(), args: words.collect() }
    }

    /// A string argument as it was, `None` for a null pointer. Panics if there is none, or if it was not UTF-8.
    pub fn text(&self, index: usize) -> Option<String> {
        let arg = &self.args[index];
        (arg != "NULL").then(|| unescape(arg))
    }

    /// An array argument as it was, `None` for a null pointer. Panics if there is no such argument.
    pub fn list(&self, index: usize) -> Option<Vec<String>> {
        let arg = &self.args[index];
        if arg == "NULL" {
            return None;
        }
        let inner = arg.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).expect("an array of strings");
        Some(if inner.is_empty() { Vec::new() } else { inner.split(',').map(unescape).collect() })
    }

    /// A number argument. Panics if there is no such argument or it is no number.
    pub fn number(&self, index: usize) -> i128 {
        self.args[index].parse().unwrap_or_else(|_| panic!("argument {index} of {self} is no number"))
    }
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}({})", self.function, self.args.join(", "))
    }
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let byte = match byte {
            b'\\' => match rest.next() {
                Some(b'n') => b'\n',
                Some(b't') => b'\t',
                Some(b'x') => {
                    let digits = [rest.next(), rest.next()].map(|digit| digit.and_then(|c| (c as char).to_digit(16)));
                    let [Some(high), Some(low)] = digits else { panic!("{text}") };
                    (high * 16 + low) as u8
                }
                Some(b'\\') => b'\\',
                Some(b'e') => continue,
                _ => panic!("{text}"),
            },
            byte => byte,
        };
        bytes.push(byte);
    }
    String::from_utf8(bytes).expect("UTF-8")
}
