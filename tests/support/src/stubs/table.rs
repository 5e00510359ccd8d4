//! What the tables in tests/data say about a release and a build of libkrun.

const SYMBOLS: &str = include_str!("../../../data/symbols.tsv");
const RELEASES: &str = include_str!("../../../data/releases.tsv");

/// A release of libkrun.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Release {
    /// `1.17.4` for example.
    pub version: String,
    /// The day of the tag, or `(crate)` for a release that was only published as a crate.
    pub date: String,
    /// The soname of the libkrunfw that it opens, or `linked` for a release that is linked with it.
    pub libkrunfw: String,
    /// The functions that are new in it.
    pub new_functions: Vec<String>,
}

/// libkrun's releases, the oldest first.
pub fn releases() -> Vec<Release> {
    rows(RELEASES)
        .map(|row| Release {
            version: row[0].to_owned(),
            date: row[1].to_owned(),
            libkrunfw: row[2].split_whitespace().next().unwrap_or_default().to_owned(),
            new_functions: row[3].split_whitespace().map(str::to_owned).collect(),
        })
        .collect()
}

/// The rows below the comments and the line of column names.
fn rows(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    text.lines().filter(|line| !line.starts_with('#')).skip(1).map(|line| line.split('\t').collect())
}

/// A version as numbers.
pub(super) fn numbers(version: &str) -> (u64, u64, u64) {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or_else(|_| panic!("{version} is no release")));
    let mut next = || parts.next().unwrap_or_else(|| panic!("{version} is no release"));
    (next(), next(), next())
}

/// The features of `krun_has_feature`, in the order of their numbers.
const FEATURES: &[&str] = &[
    "net",
    "blk",
    "gpu",
    "snd",
    "input",
    "efi",
    "tee",
    "amd-sev",
    "intel-tdx",
    "aws-nitro",
    "virgl-resource-map2",
    "init-blob",
];

/// What a library was built with.
#[derive(Clone, Debug)]
pub(super) struct Features(Vec<&'static str>);

impl Features {
    /// With what the named ones bring along in libkrun.
    pub(super) fn new(names: &[&str]) -> Features {
        let mut features = Features(Vec::new());
        for name in names {
            features.add(name);
        }
        features
    }

    fn add(&mut self, name: &str) {
        let name = name.replace('_', "-");
        let known = FEATURES.iter().find(|known| **known == name).unwrap_or_else(|| panic!("{name} is no feature"));
        if !self.0.contains(known) {
            self.0.push(known);
        }
        let brings: &[&str] = match *known {
            "amd-sev" | "intel-tdx" => &["tee", "blk"],
            "efi" => &["blk", "net"],
            _ => &[],
        };
        brings.iter().for_each(|name| self.add(name));
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains(&name)
    }

    /// What `krun_has_feature` of that release answers for each number; it refuses the others.
    pub(super) fn answers(&self, release: (u64, u64, u64)) -> impl Iterator<Item = (usize, bool)> {
        let known = if release < (1, 19, 0) { FEATURES.len() - 1 } else { FEATURES.len() };
        FEATURES[..known].iter().enumerate().map(|(id, name)| (id, self.has(name)))
    }

    /// Whether the words of the column `built_with` are true.
    fn satisfy(&self, built_with: &str) -> bool {
        if built_with.contains("platforms") {
            return true; // the column linux_until says it
        }
        built_with.split(", ").all(|words| match words {
            "" => true,
            "tee (amd-sev" | "not tee" => self.has("tee") != words.starts_with("not "),
            "tdx)" => true,
            words => match words.strip_prefix("not ") {
                Some(name) => !self.has(name),
                None => self.has(words),
            },
        })
    }
}

/// A function that a library has.
#[derive(Clone, Debug)]
pub(super) struct Export {
    pub(super) name: &'static str,
    /// What it returns, and nothing else, in a build without what it needs.
    pub(super) refuses: Option<i32>,
    pub(super) result: &'static str,
    /// Each as in C, with its name.
    pub(super) parameters: Vec<&'static str>,
}

/// The functions that a Linux build of that release with those features has.
pub(super) fn exports(release: (u64, u64, u64), features: &Features) -> Vec<Export> {
    rows(SYMBOLS).filter_map(|row| export(&row, release, features)).collect()
}

/// Whether a release has a function of that name.
pub(super) fn is_function(name: &str) -> bool {
    rows(SYMBOLS).any(|row| row[0] == name)
}

fn export(row: &[&'static str], release: (u64, u64, u64), features: &Features) -> Option<Export> {
    let [name, since, until, linux_until, built_with, without_it, signature] = row else { panic!("{row:?}") };
    let gone = [until, linux_until].into_iter().any(|last| !last.is_empty() && release > numbers(last));
    if release < numbers(since) || gone {
        return None;
    }
    let (result, parameters) = signature.split_once(" (").expect(name);
    let parameters = parameters.strip_suffix(')').expect(name).split(',').map(str::trim);
    let mut parameters: Vec<_> = parameters.filter(|parameter| !matches!(*parameter, "" | "void")).collect();
    let mut refuses = None;
    if !features.satisfy(built_with) {
        match without_it
            .strip_prefix("absent since ")
            .map(|rest| rest.split_once("; before that a stub returning -ENOTSUP"))
        {
            Some(Some((since, ""))) if release < numbers(since) => refuses = Some(-95),
            Some(_) => return None,
            None if without_it.starts_with("absent") => return None,
            None if without_it.ends_with("NOTSUP") => refuses = Some(-95),
            None if without_it.ends_with("with two parameters and returns -EOPNOTSUPP") => {
                parameters.truncate(2);
                refuses = Some(-95);
            }
            None if without_it.ends_with("without effect") => refuses = Some(0),
            None => panic!("{name}: {without_it}"),
        }
    }
    Some(Export { name, refuses, result, parameters })
}
