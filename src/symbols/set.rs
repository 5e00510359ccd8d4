//! A set of functions.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Function;

/// A set of functions, in the order of the table.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct FunctionSet(u128);

// One bit each.
const _: () = assert!(Function::ALL.len() <= 128);

impl FunctionSet {
    /// Every function of the table.
    pub const ALL: FunctionSet = FunctionSet(u128::MAX >> (128 - Function::ALL.len()));

    /// An empty set.
    pub const fn new() -> FunctionSet {
        FunctionSet(0)
    }

    /// The functions of these names, which are sorted, and the names that no function has.
    pub(crate) fn of_sorted<'a>(names: impl Iterator<Item = &'a str>) -> (FunctionSet, Vec<&'a str>) {
        let mut functions = super::BY_NAME.iter().copied().peekable();
        let (mut set, mut unknown) = (FunctionSet::new(), Vec::new());
        for name in names {
            while functions.next_if(|function| function.name() < name).is_some() {}
            match functions.next_if(|function| function.name() == name) {
                Some(function) => _ = set.insert(function),
                None => unknown.push(name),
            }
        }
        (set, unknown)
    }

    const fn bit(function: Function) -> u128 {
        1 << function as u32
    }

    /// Puts a function in; `false` if it was in already.
    pub const fn insert(&mut self, function: Function) -> bool {
        let new = !self.contains(function);
        self.0 |= Self::bit(function);
        new
    }

    /// Takes a function out; `false` if it was not in.
    pub const fn remove(&mut self, function: Function) -> bool {
        let there = self.contains(function);
        self.0 &= !Self::bit(function);
        there
    }

    /// Whether the function is in.
    pub const fn contains(self, function: Function) -> bool {
        self.0 & Self::bit(function) != 0
    }

    /// Its functions, in the order of the table.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = Function> + Clone {
        Function::ALL.iter().copied().filter(move |function| self.contains(*function))
    }

    /// The number of its functions.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether it has no function.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What is in either.
    pub const fn union(self, other: FunctionSet) -> FunctionSet {
        FunctionSet(self.0 | other.0)
    }

    /// What is in both.
    pub const fn intersection(self, other: FunctionSet) -> FunctionSet {
        FunctionSet(self.0 & other.0)
    }

    /// What is in this one and not in the other.
    pub const fn difference(self, other: FunctionSet) -> FunctionSet {
        FunctionSet(self.0 & !other.0)
    }

    /// Whether everything in this one is in the other.
    pub const fn is_subset(self, other: FunctionSet) -> bool {
        self.0 & !other.0 == 0
    }
}

impl fmt::Debug for FunctionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Function's own Debug is its name.
        f.debug_set().entries(self.iter()).finish()
    }
}

impl FromIterator<Function> for FunctionSet {
    fn from_iter<I: IntoIterator<Item = Function>>(functions: I) -> FunctionSet {
        let mut set = FunctionSet::new();
        set.extend(functions);
        set
    }
}

impl Extend<Function> for FunctionSet {
    fn extend<I: IntoIterator<Item = Function>>(&mut self, functions: I) {
        for function in functions {
            self.insert(function);
        }
    }
}

impl Serialize for FunctionSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for FunctionSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<FunctionSet, D::Error> {
        Ok(Vec::<Function>::deserialize(deserializer)?.into_iter().collect())
    }
}
