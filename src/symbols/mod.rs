//! libkrun's public functions: names, signatures, the releases that have them, and what a build must have for them.
//!
//! [`Function`] names each of them, [`Symbol`] says what is known about one, [`Functions`] holds the pointers that a
//! library has. Everything comes from one table, which the tests compare with libkrun's releases and with the
//! signatures of the real crate.

mod build;
mod feature;
mod set;
mod upcoming;

use std::fmt;

use serde::Serialize;

pub use build::{Build, Without};
pub use feature::Feature;
pub use set::FunctionSet;
pub use upcoming::{Operation, UPCOMING, Upcoming};

/// An enum of names: `ALL`, `name`, `from_name`, `Display`, and serde by name.
macro_rules! named {
    ($(#[$meta:meta])* pub enum $type:ident {
        $($(#[$vmeta:meta])* $variant:ident $(= $number:literal)? => $name:literal,)+
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type { $($(#[$vmeta])* $variant $(= $number)?,)+ }

        impl $type {
            /// All of them, in order.
            pub const ALL: &'static [$type] = &[$($type::$variant),+];

            /// Its name in lower case, as it stands in JSON.
            pub const fn name(self) -> &'static str {
                match self { $($type::$variant => $name),+ }
            }

            /// The one of that name.
            pub fn from_name(name: &str) -> Option<$type> {
                $type::ALL.iter().copied().find(|one| one.name() == name)
            }
        }

        $crate::symbols::by_name!($type);
    };
}

/// `Display` and serde through `name` and `from_name`.
macro_rules! by_name {
    ($type:ident) => {
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn schema_id() -> std::borrow::Cow<'static, str> {
                concat!(module_path!(), "::", stringify!($type)).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let names: Vec<&str> = $type::ALL.iter().map(|one| one.name()).collect();
                schemars::json_schema!({ "type": "string", "enum": names })
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
                let name = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                $type::from_name(&name).ok_or_else(|| {
                    serde::de::Error::custom(format_args!(
                        concat!("there is no ", stringify!($type), " named `{}`"),
                        name.escape_debug()
                    ))
                })
            }
        }
    };
}
pub(crate) use {by_name, named};

/// Writes everything that follows from the table.
///
/// The groups stand in the order of [`Group`]; a function's doc comment is its meaning, the string after its Rust
/// signature is the C one, as in libkrun.h.
macro_rules! symbols {
    ($($group:ident {$(
        #[doc = $meaning:literal]
        $name:ident($($arg:ident: $type:ty),*) -> $ret:ty, $signature:literal,
        since $since:literal $(, until $until:literal)? $(, linux_until $linux_until:literal)?
        $(, needs $build:ident $built_with:literal, else $without:expr, $without_it:literal)?;
    )+})+) => {
        /// One of libkrun's public functions, of any release.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(non_camel_case_types, reason = "they bear libkrun's names")]
        #[non_exhaustive]
        pub enum Function { $($(#[doc = $meaning] $name,)+)+ }

        impl Function {
            /// All of them, in the order of the table.
            pub const ALL: &'static [Function] = &[$($(Function::$name,)+)+];

            /// Its name, `krun_create_ctx` for example.
            pub const fn name(self) -> &'static str {
                match self { $($(Function::$name => stringify!($name),)+)+ }
            }

            /// Its name as a C string.
            pub const fn c_name(self) -> &'static CStr {
                match self {
                    $($(Function::$name => const {
                        match CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
                            Ok(name) => name,
                            Err(_) => unreachable!(),
                        }
                    },)+)+
                }
            }
        }

        /// The table, in the order of [`Function::ALL`].
        pub(super) static SYMBOLS: &[Symbol] = &[$($(Symbol {
            function: Function::$name,
            name: stringify!($name),
            group: Group::$group,
            signature: $signature,
            rust_signature: concat!(
                "unsafe extern \"C\" fn(", symbols!(@parameters $($arg: $type),*), ") -> ", stringify!($ret)
            ),
            since: $since,
            until: symbols!(@option $($until)?),
            linux_until: symbols!(@option $($linux_until)?),
            built_with: symbols!(@option $($built_with)?),
            without_it: symbols!(@option $($without_it)?),
            without: symbols!(@or Without::Always $(, $without)?),
            build: symbols!(@or Build::Always $(, Build::$build)?),
            meaning: $meaning.trim_ascii(),
        },)+)+];

        /// The type of the pointer to each function, named like the function.
        #[allow(non_camel_case_types, reason = "they bear libkrun's names")]
        pub mod types {
            use core::ffi::{c_char, c_int, c_void};

            use libc::{gid_t, uid_t};

            $($(#[doc = $meaning] pub type $name = unsafe extern "C" fn($($arg: $type),*) -> $ret;)+)+
        }

        /// Pointers to the functions that a library has; the default has none.
        #[derive(Clone, Copy, Default)]
        #[non_exhaustive]
        pub struct Functions { $($(#[doc = $meaning] pub $name: Option<types::$name>,)+)+ }

        impl Functions {
            /// Asks `lookup` for each function's address; null means that the library does not have it.
            ///
            /// # Safety
            ///
            /// Each address that is not null must be that of the function of that name, with the signature of the
            /// table, and must stay valid for as long as the result or a copy of it is used.
            pub unsafe fn resolve(mut lookup: impl FnMut(Function) -> *const c_void) -> Functions {
                $($(
                    // SAFETY: a nullable function pointer is as wide as a data pointer on every platform that has
                    // dlsym, null is None, and the caller vouches for the signature behind any other address.
                    let $name = unsafe {
                        core::mem::transmute::<*const c_void, Option<types::$name>>(lookup(Function::$name))
                    };
                )+)+
                Functions { $($($name,)+)+ }
            }

            /// The functions that are there.
            pub fn present(&self) -> FunctionSet {
                let mut set = FunctionSet::new();
                $($(if self.$name.is_some() { set.insert(Function::$name); })+)+
                set
            }
        }
    };
    // stringify! of the whole would leave the blanks to the compiler's release.
    (@parameters) => { "" };
    (@parameters $arg:ident: $type:ty $(, $($rest:tt)+)?) => {
        concat!(stringify!($arg), ": ", stringify!($type) $(, ", ", symbols!(@parameters $($rest)+))?)
    };
    (@option) => { None };
    (@option $value:literal) => { Some($value) };
    (@or $default:expr) => { $default };
    (@or $default:expr, $value:expr) => { $value };
}

mod table;

pub use table::{Function, Functions, types};

/// All functions in the order of their names, to find them by.
static BY_NAME: [Function; Function::ALL.len()] = {
    let mut sorted = [Function::ALL[0]; Function::ALL.len()];
    let mut filled = 0;
    while filled < sorted.len() {
        let function = Function::ALL[filled];
        let mut at = filled;
        while at > 0 && is_before(function.name().as_bytes(), sorted[at - 1].name().as_bytes()) {
            sorted[at] = sorted[at - 1];
            at -= 1;
        }
        sorted[at] = function;
        filled += 1;
    }
    sorted
};

const fn is_before(a: &[u8], b: &[u8]) -> bool {
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    at < b.len() && (at == a.len() || a[at] < b[at])
}

impl Function {
    /// What is known about it.
    pub fn symbol(self) -> &'static Symbol {
        &table::SYMBOLS[self as usize]
    }

    /// The function of that name.
    pub fn from_name(name: &str) -> Option<Function> {
        let at = BY_NAME.binary_search_by(|function| function.name().cmp(name)).ok()?;
        Some(BY_NAME[at])
    }

    /// The first release that has it.
    pub fn since(self) -> semver::Version {
        let [major, minor, patch] = self.since_numbers();
        semver::Version::new(major, minor, patch)
    }

    /// The same as numbers, to compare by.
    pub(crate) fn since_numbers(self) -> [u64; 3] {
        SINCE[self as usize]
    }
}

/// The numbers of the releases in the table, which are asked for all the time.
static SINCE: [[u64; 3]; Function::ALL.len()] = {
    let mut all = [[0; 3]; Function::ALL.len()];
    let mut at = 0;
    while at < all.len() {
        all[at] = numbers(table::SYMBOLS[at].since.as_bytes());
        at += 1;
    }
    all
};

const fn numbers(text: &[u8]) -> [u64; 3] {
    let mut numbers = [0; 3];
    let (mut at, mut part) = (0, 0);
    while at < text.len() {
        match text[at] {
            b'.' => part += 1,
            digit @ b'0'..=b'9' => numbers[part] = numbers[part] * 10 + (digit - b'0') as u64,
            _ => panic!("the table's releases are versions"),
        }
        at += 1;
    }
    assert!(part == 2, "the table's releases are versions");
    numbers
}

by_name!(Function);

impl fmt::Debug for Functions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Functions").field(&self.present()).finish()
    }
}

/// What is known about one function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Symbol {
    /// The function.
    pub function: Function,
    /// Its name.
    pub name: &'static str,
    /// What it is about.
    pub group: Group,
    /// Its C signature without the name, as in libkrun.h.
    pub signature: &'static str,
    /// The same as a Rust function pointer type: `unsafe extern "C" fn(ctx_id: u32) -> i32`.
    pub rust_signature: &'static str,
    /// The first release that has it.
    pub since: &'static str,
    /// The last release that has it, if it is gone.
    pub until: Option<&'static str>,
    /// The last release whose Linux build has it, if that is gone.
    pub linux_until: Option<&'static str>,
    /// In words, what libkrun must be built with or for; `None` if every build has it.
    pub built_with: Option<&'static str>,
    /// In words, what a build without that does.
    pub without_it: Option<&'static str>,
    /// What a build without that does.
    pub without: Without,
    /// What libkrun must be built with or for.
    pub build: Build,
    /// What it does, in one line.
    pub meaning: &'static str,
}

named! {
    /// What a function is about.
    #[non_exhaustive]
    pub enum Group {
        /// Making, sizing, starting and stopping a virtual machine.
        Core => "core",
        /// libkrun's own log.
        Log => "log",
        /// Questions about the library and the host.
        Host => "host",
        /// The workload.
        Exec => "exec",
        /// The root and shared directories.
        Virtiofs => "virtiofs",
        /// The built-in init, and files that only the guest sees.
        Overlay => "overlay",
        /// Disk images.
        Disk => "disk",
        /// Network cards.
        Net => "net",
        /// The vsock device, and the network that goes through it (TSI).
        Vsock => "vsock",
        /// Consoles.
        Console => "console",
        /// Kernel and firmware.
        Kernel => "kernel",
        /// Properties of the virtual hardware.
        Machine => "machine",
        /// The user that the process becomes.
        Identity => "identity",
        /// The graphics card.
        Gpu => "gpu",
        /// Displays.
        Display => "display",
        /// Input devices.
        Input => "input",
        /// Sound.
        Sound => "sound",
        /// Confidential guests.
        Tee => "tee",
        /// AWS Nitro enclaves.
        Nitro => "nitro",
    }
}

impl Group {
    /// Its functions, in the order of the table.
    pub fn functions(self) -> impl Iterator<Item = Function> {
        Function::ALL.iter().copied().filter(move |function| function.symbol().group == self)
    }
}
