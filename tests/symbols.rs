//! The table of libkrun's functions against what the releases have (tests/data, also the base of the stub libraries).

use std::collections::{BTreeMap, BTreeSet};

use krundl::symbols::{Build, Feature, Function, FunctionSet, Functions, Group, Symbol, Without};
use semver::Version;

const SYMBOLS: &str = include_str!("data/symbols.tsv");
const RELEASES: &str = include_str!("data/releases.tsv");

/// The rows of a table by their first column, each row as column name to text.
fn rows(text: &'static str) -> BTreeMap<&'static str, BTreeMap<&'static str, &'static str>> {
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    let columns: Vec<_> = lines.next().expect("a line of column names").split('\t').collect();
    let mut rows = BTreeMap::new();
    for line in lines {
        let cells: Vec<_> = line.split('\t').collect();
        assert_eq!(cells.len(), columns.len(), "{line}");
        let row = columns.iter().copied().zip(cells.iter().copied()).collect();
        assert!(rows.insert(cells[0], row).is_none(), "{} stands there twice", cells[0]);
    }
    rows
}

fn symbols() -> impl Iterator<Item = &'static Symbol> {
    Function::ALL.iter().map(|function| function.symbol())
}

#[test]
fn the_table_says_what_the_releases_have() {
    let rows = rows(SYMBOLS);
    assert_eq!(rows.len(), 72);
    let names: BTreeSet<_> = Function::ALL.iter().map(|function| function.name()).collect();
    assert_eq!(names, rows.keys().copied().collect());
    assert_eq!(names.len(), Function::ALL.len(), "a name stands there twice");
    for symbol in symbols() {
        let text = |value: Option<&'static str>| value.unwrap_or("");
        let ours = BTreeMap::from([
            ("function", symbol.name),
            ("since", symbol.since),
            ("until", text(symbol.until)),
            ("linux_until", text(symbol.linux_until)),
            ("built_with", text(symbol.built_with)),
            ("without_it", text(symbol.without_it)),
            ("signature", symbol.signature),
        ]);
        assert_eq!(ours, rows[symbol.name]);
    }
}

#[test]
fn releases_are_versions_in_order() {
    for symbol in symbols() {
        let since = symbol.function.since();
        assert_eq!(since.to_string(), symbol.since);
        for last in [symbol.until, symbol.linux_until].into_iter().flatten() {
            let last = Version::parse(last).expect(symbol.name);
            assert!(last >= since, "{}", symbol.name);
        }
    }
}

#[test]
fn each_release_adds_the_functions_that_are_new_in_it() {
    let symbols = rows(SYMBOLS);
    let mut added = BTreeMap::new();
    for (release, row) in rows(RELEASES) {
        Version::parse(release).expect(release);
        for name in row["new_functions"].split_whitespace() {
            assert!(added.insert(name, release).is_none(), "{name} is new in two releases");
        }
    }
    assert_eq!(added, symbols.iter().map(|(name, row)| (*name, row["since"])).collect());
    for symbol in self::symbols() {
        assert_eq!(added[symbol.name], symbol.since, "{}", symbol.name);
    }
}

/// The Rust type of a C parameter. libkrun's header leaves `const` out here and there where the library only reads, so
/// strings and bytes are always `*const`; what the library writes to is `*mut`.
fn rust_type(c: &str) -> String {
    let stars = c.matches('*').count() + c.matches("[]").count();
    let base =
        c.split(|ch: char| !(ch.is_ascii_alphanumeric() || ch == '_')).find(|word| !matches!(*word, "const" | ""));
    let base = match base.expect(c) {
        "char" => "c_char",
        "void" => "c_void",
        "int" => "c_int",
        "uint8_t" => "u8",
        "uint16_t" => "u16",
        "uint32_t" => "u32",
        "uint64_t" => "u64",
        "int32_t" => "i32",
        "size_t" => "usize",
        "bool" => "bool",
        "uid_t" => "uid_t",
        "gid_t" => "gid_t",
        other => panic!("no Rust type for {other}"),
    };
    match (base, stars) {
        ("usize", 1) => "*mut usize".to_owned(),
        ("u8", 2) => "*mut *const u8".to_owned(),
        ("c_char" | "c_void" | "u8", _) | (_, 0) => "*const ".repeat(stars) + base,
        _ => panic!("no Rust type for {c}"),
    }
}

fn from_c(signature: &str) -> String {
    let (result, parameters) = signature.split_once(" (").expect(signature);
    let parameters = parameters.strip_suffix(')').expect(signature);
    let parameters: Vec<String> = parameters
        .split(',')
        .map(str::trim)
        .filter(|parameter| !matches!(*parameter, "" | "void"))
        .map(|parameter| {
            let declarator = parameter.trim_end_matches("[]");
            let start = declarator.rfind(|ch: char| !(ch.is_ascii_alphanumeric() || ch == '_')).expect(parameter) + 1;
            let (before, name) = declarator.split_at(start);
            format!("{name}: {}", rust_type(&(before.to_owned() + &parameter[declarator.len()..])))
        })
        .collect();
    format!("unsafe extern \"C\" fn({}) -> {}", parameters.join(", "), rust_type(result))
}

#[test]
fn rust_signatures_follow_from_the_c_ones() {
    for symbol in symbols() {
        assert_eq!(symbol.rust_signature, from_c(symbol.signature), "{}", symbol.name);
    }
}

#[test]
fn the_typed_columns_agree_with_the_words() {
    for symbol in symbols() {
        let build = match symbol.built_with.unwrap_or("") {
            "" => Build::Always,
            "not tee" => Build::NotTee,
            "not tee, not aws-nitro" => Build::NotTeeNorNitro,
            "blk" => Build::Blk,
            "blk, not tee, not aws-nitro" => Build::BlkNotTeeNorNitro,
            "net" => Build::Net,
            "gpu" => Build::Gpu,
            "snd" => Build::Snd,
            "input" => Build::Input,
            "tee (amd-sev, tdx)" => Build::Tee,
            "amd-sev" => Build::AmdSev,
            "aws-nitro" => Build::Nitro,
            text if text.contains("platforms") => Build::Platform,
            text => panic!("{}: {text}", symbol.name),
        };
        assert_eq!(symbol.build, build, "{}", symbol.name);
        let text = symbol.without_it.unwrap_or("");
        let matches = match symbol.without {
            Without::Always => text.is_empty(),
            Without::Absent => text == "absent" || text.starts_with("absent in "),
            Without::Refuses => text.contains("returns -ENOTSUP") || text.contains("returns -EOPNOTSUPP"),
            Without::NoEffect => text.ends_with("without effect"),
            Without::AbsentSince(release) => {
                text == format!("absent since {release}; before that a stub returning -ENOTSUP")
            }
            other => panic!("{other:?}"),
        };
        assert!(matches, "{}: {:?} is not \"{text}\"", symbol.name, symbol.without);
        assert_eq!(symbol.build == Build::Always, symbol.without == Without::Always, "{}", symbol.name);
    }
}

#[test]
fn functions_have_names_groups_and_meanings() {
    for (index, function) in Function::ALL.iter().copied().enumerate() {
        let symbol = function.symbol();
        assert_eq!((symbol.function, symbol.name, function as usize), (function, function.name(), index));
        assert_eq!(function.c_name().to_str(), Ok(function.name()));
        assert_eq!(Function::from_name(function.name()), Some(function));
        assert_eq!(function.to_string(), function.name());
        assert!(symbol.meaning.ends_with('.') && symbol.meaning.trim() == symbol.meaning, "{}", symbol.meaning);
        let json = serde_json::to_string(&function).unwrap();
        assert_eq!(json, format!("\"{function}\""));
        assert_eq!(serde_json::from_str::<Function>(&json).unwrap(), function);
    }
    assert_eq!(Function::from_name("krun_set_dpi"), None);
    let error = serde_json::from_str::<Function>("\"krun_vm_pause\"").unwrap_err().to_string();
    assert!(error.contains("there is no Function named `krun_vm_pause`"), "{error}");
    let grouped: Vec<_> = Group::ALL.iter().flat_map(|group| group.functions()).collect();
    assert_eq!(grouped, Function::ALL, "the table is not grouped in the order of Group");
    assert!(Group::ALL.iter().all(|group| group.functions().count() > 0));
}

#[test]
fn features_have_numbers_names_and_releases() {
    assert_eq!(Feature::ALL.len(), 12);
    for (index, feature) in Feature::ALL.iter().copied().enumerate() {
        assert_eq!(feature.id(), index as u64);
        assert_eq!(Feature::from_id(feature.id()), Some(feature));
        assert_eq!(Feature::from_name(feature.name()), Some(feature));
        assert_eq!(serde_json::to_string(&feature).unwrap(), format!("\"{}\"", feature.name()));
        let since = if feature == Feature::InitBlob { "1.19.0" } else { "1.17.3" };
        assert_eq!(feature.since().to_string(), since);
    }
    assert_eq!(Feature::from_id(12), None);
    assert!(Feature::ALL.iter().all(|feature| feature.since() >= Function::krun_has_feature.since()));
}

#[test]
fn sets_are_sets() {
    use Function::{krun_add_virtiofs3, krun_create_ctx, krun_start_enter};
    assert_eq!(FunctionSet::ALL.len(), 72);
    assert_eq!(FunctionSet::ALL.iter().collect::<Vec<_>>(), Function::ALL);
    let mut set = FunctionSet::new();
    assert!(set.is_empty() && set.insert(krun_start_enter) && !set.insert(krun_start_enter));
    set.extend([krun_create_ctx]);
    assert_eq!(set.iter().collect::<Vec<_>>(), [krun_create_ctx, krun_start_enter]);
    assert_eq!(format!("{set:?}"), "{krun_create_ctx, krun_start_enter}");
    let other = FunctionSet::from_iter([krun_start_enter, krun_add_virtiofs3]);
    assert_eq!(set.union(other).len(), 3);
    assert_eq!(set.intersection(other).iter().collect::<Vec<_>>(), [krun_start_enter]);
    assert_eq!(set.difference(other).iter().collect::<Vec<_>>(), [krun_create_ctx]);
    assert!(set.is_subset(FunctionSet::ALL) && !set.is_subset(other));
    let json = serde_json::to_string(&set).unwrap();
    assert_eq!(json, r#"["krun_create_ctx","krun_start_enter"]"#);
    assert_eq!(serde_json::from_str::<FunctionSet>(&json).unwrap(), set);
    assert!(set.remove(krun_create_ctx) && !set.remove(krun_create_ctx) && !set.contains(krun_create_ctx));
    assert_eq!(set.len(), 1);
}

#[test]
fn pointers_go_where_their_names_say() {
    unsafe extern "C" fn one(_: u32) -> i32 {
        1
    }
    unsafe extern "C" fn two() -> i32 {
        2
    }
    assert!(Functions::default().present().is_empty());
    // SAFETY: each pointer is to a function with the parameters and the result of the function of that name.
    let functions = unsafe {
        Functions::resolve(|function| match function {
            Function::krun_free_ctx => one as *const _,
            Function::krun_create_ctx => two as *const _,
            _ => std::ptr::null(),
        })
    };
    assert_eq!(functions.present(), FunctionSet::from_iter([Function::krun_create_ctx, Function::krun_free_ctx]));
    assert_eq!(format!("{functions:?}"), "Functions({krun_create_ctx, krun_free_ctx})");
    // SAFETY: they are the functions above.
    let results = unsafe { (functions.krun_create_ctx.unwrap()(), functions.krun_free_ctx.unwrap()(0)) };
    assert_eq!(results, (2, 1));
    // Every function, once each, in the order of the table.
    let mut asked = Vec::new();
    // SAFETY: all null.
    let none = unsafe {
        Functions::resolve(|function| {
            asked.push(function);
            std::ptr::null()
        })
    };
    assert!(none.present().is_empty());
    assert_eq!(asked, Function::ALL);
}
