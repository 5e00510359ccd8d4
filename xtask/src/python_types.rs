//! Python's dataclasses for specs and reports, out of the JSON Schemas of the Rust types.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

const HEADER: &str = "# Written by `cargo xtask generate` from the Rust types. Do not edit.\n";

/// Strings of a spec that name files of the host, by class and field; a class of `*` is any.
const PATHS: &[(&str, &str)] = &[
    ("Mount", "host"),
    ("Kernel", "path"),
    ("Disk", "path"),
    ("VsockPort", "path"),
    ("Gvproxy", "program"),
    ("Passt", "program"),
    ("*", "dir"),
    ("*", "initrd"),
    ("*", "firmware"),
    ("*", "log_file"),
    ("*", "input"),
    ("*", "output"),
    ("*", "tty"),
    ("*", "edid"),
    ("*", "config"),
    ("*", "from"),
    ("*", "unixstream"),
    ("Gvproxy", "program"),
    ("Passt", "program"),
    ("*", "unixgram"),
    ("*", "inputs"),
];

/// Classes with another name in Python, or with more than their fields: name in Rust, name in Python, base class.
const SPECIAL: &[(&str, &str, &str)] = &[
    ("VmSpec", "VmSpec", "_SpecBase"),
    ("Report", "DoctorReport", "_DoctorBase"),
    ("ProbeReport", "ProbeReport", "_ProbeBase"),
    ("LibraryReport", "LibraryReport", "_LibraryBase"),
    ("Inspected", "Inspected", "_InspectedBase"),
    ("Part", "Part", "_PartBase"),
    ("Problem", "Problem", "_ProblemBase"),
];

/// Sets of names with more than so many are plain `str` in Python.
const LITERALS: usize = 20;

/// python/krundl/_spec.py.
pub fn spec() -> String {
    let mut types = Types { frozen: false, ..Types::default() };
    types.add::<krundl::VmSpec>(SchemaSettings::default());
    let imports = "import os\nfrom dataclasses import dataclass, field\nfrom typing import Literal, Union\n\n\
                   from ._data import Data, _SpecBase\n";
    let aliases = "HostPath = Union[str, \"os.PathLike[str]\"]\n\"\"\"A path on the host.\"\"\"\n\n\
                   Text = Union[str, bytes, \"os.PathLike[str]\"]\n\
                   \"\"\"Text of any bytes but NUL; a string's surrogates stand for bytes, as everywhere in Python.\"\"\"\n";
    let console = "@dataclass(kw_only=True)\nclass ConsoleFile(Data):\n    \"\"\"The console in a file.\"\"\"\n\n    \
                   file: HostPath\n    \"\"\"The file, which is truncated.\"\"\"\n\n\n\
                   @dataclass(kw_only=True)\nclass ControlSocket(Data):\n    \"\"\"The control port at a path.\"\"\"\n\n    \
                   socket: HostPath\n    \"\"\"The socket, which libkrun makes, in a directory with mode 0700.\"\"\"\n\n\n";
    types.module("What a VM is to be.", imports, aliases, console)
}

/// python/krundl/_reports.py.
pub fn reports() -> String {
    let mut types = Types { frozen: true, ..Types::default() };
    // As it is written, not as it could be read.
    types.add::<krundl::doctor::Report>(SchemaSettings::default().for_serialize());
    types.add::<krundl::doctor::ProbeReport>(SchemaSettings::default().for_serialize());
    types.add::<krundl::doctor::Inspected>(SchemaSettings::default().for_serialize());
    let imports = "from dataclasses import dataclass\nfrom typing import Literal, Optional\n\n\
                   from ._data import (\n    Data,\n    _DoctorBase,\n    _InspectedBase,\n    _LibraryBase,\n    \
                   _PartBase,\n    _ProbeBase,\n    _ProblemBase,\n)\n";
    types.module("What was found out.", imports, "", "")
}

#[derive(Default)]
struct Types {
    frozen: bool,
    definitions: BTreeMap<String, Value>,
    done: BTreeSet<String>,
    exported: Vec<String>,
    aliases: String,
    classes: String,
}

impl Types {
    fn add<T: JsonSchema>(&mut self, settings: SchemaSettings) {
        let schema = settings.into_generator().into_root_schema_for::<T>();
        let Value::Object(mut root) = schema.to_value() else { panic!("a schema is an object") };
        if let Some(Value::Object(definitions)) = root.remove("$defs") {
            self.definitions.extend(definitions);
        }
        self.definitions.insert(T::schema_name().into_owned(), Value::Object(root));
    }

    fn module(mut self, about: &str, imports: &str, aliases: &str, console: &str) -> String {
        if !self.frozen {
            self.exported.extend(["HostPath", "Text", "ConsoleFile", "ControlSocket"].map(str::to_owned));
        }
        for name in self.definitions.keys().cloned().collect::<Vec<_>>() {
            self.define(&name);
        }
        self.exported.sort();
        let exported: String = self.exported.iter().map(|name| format!("    \"{name}\",\n")).collect();
        let (own, classes) = (&self.aliases, self.classes.trim_end());
        format!(
            "{HEADER}\"\"\"{about}\"\"\"\n\nfrom __future__ import annotations\n\n{imports}\n__all__ = [\n{exported}]\n\n\
             {aliases}{own}\n\n{console}{classes}\n"
        )
    }

    /// Writes a definition down, after those that it needs.
    fn define(&mut self, name: &str) {
        if !self.done.insert(name.to_owned()) || matches!(name, "Text" | "Words") {
            return;
        }
        let definition = self.definitions[name].clone();
        if let Some(names) = names(&definition) {
            if names.len() <= LITERALS {
                let list = names.iter().map(|name| format!("    \"{name}\",\n")).collect::<String>();
                writeln!(self.aliases, "\n{name} = Literal[\n{list}]\n{}", docstring(&definition, "")).unwrap();
                self.exported.push(name.to_owned());
            }
        } else if name == "Console" {
            let literal = "Console = Union[Literal[\"inherit\", \"none\"], \"ConsoleFile\"]";
            writeln!(self.aliases, "\n{literal}\n{}", docstring(&definition, "")).unwrap();
            self.exported.push(name.to_owned());
        } else if name == "Control" {
            let literal = "Control = Union[Literal[\"private\"], \"ControlSocket\"]";
            writeln!(self.aliases, "\n{literal}\n{}", docstring(&definition, "")).unwrap();
            self.exported.push(name.to_owned());
        } else {
            self.class(name, &definition);
        }
    }

    fn class(&mut self, name: &str, definition: &Value) {
        let empty = Map::new();
        let properties = definition["properties"].as_object().unwrap_or(&empty);
        let required: Vec<&str> =
            definition["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let rank = |field: &str| required.iter().position(|name| *name == field).unwrap_or(usize::MAX);
        let mut fields: Vec<(&String, &Value)> = properties.iter().collect();
        fields.sort_by_key(|(field, _)| (rank(field), (*field).clone()));
        let mut body = String::new();
        let mut nested = String::new();
        for (field, schema) in fields {
            let (hint, of) = self.hint(name, field, schema);
            let default = if required.contains(&field.as_str()) {
                String::new()
            } else {
                format!(" = {}", self.preset(schema.get("default").unwrap_or(&Value::Null), of.as_ref()))
            };
            let python_field = if field == "from" { "from_" } else { field };
            write!(body, "    {python_field}: {hint}{default}\n{}", docstring(schema, "    ")).unwrap();
            if let Some((shape, class)) = of {
                writeln!(nested, "        \"{field}\": (\"{shape}\", {class}),").unwrap();
            }
        }
        let (python, base) = special(name);
        let options = match (self.frozen, base) {
            (false, _) => "kw_only=True",
            (true, "Data") => "frozen=True, kw_only=True",
            (true, _) => "frozen=True, kw_only=True, repr=False",
        };
        let nested = if nested.is_empty() { String::new() } else { format!("\n    _nested = {{\n{nested}    }}\n") };
        let about = docstring(definition, "    ");
        write!(self.classes, "@dataclass({options})\nclass {python}({base}):\n{about}\n{body}{nested}\n\n").unwrap();
        self.exported.push(python.to_owned());
    }

    /// A field's type, and the class of what is in it, if it is one of ours: `one`, `list` or `dict` of it.
    fn hint(&mut self, class: &str, field: &str, schema: &Value) -> (String, Option<(&'static str, String)>) {
        let string = || {
            let is_path = PATHS.iter().any(|(of, name)| (*of == class || *of == "*") && *name == field);
            if is_path && !self.frozen { "HostPath" } else { "str" }
        };
        if let Some(options) = schema["anyOf"].as_array() {
            let some = options.iter().find(|option| option["type"] != "null").expect("a type beside null");
            let (hint, of) = self.hint(class, field, some);
            return (format!("{hint} | None"), of);
        }
        if let Some(name) = schema["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/")) {
            let name = name.to_owned();
            self.define(&name);
            let definition = &self.definitions[&name];
            return match names(definition) {
                _ if name == "Words" => ("str".to_owned(), None),
                Some(names) if names.len() > LITERALS => ("str".to_owned(), None),
                Some(_) => (name, None),
                None if name == "Text" => (name, None),
                None if name == "Console" => (name, Some(("one", "ConsoleFile".to_owned()))),
                None if name == "Control" => (name, Some(("one", "ControlSocket".to_owned()))),
                None => {
                    let python = special(&name).0.to_owned();
                    (python.clone(), Some(("one", python)))
                }
            };
        }
        let (kind, optional) = match &schema["type"] {
            Value::Array(kinds) => (kinds[0].as_str().unwrap_or_default(), " | None"),
            kind => (kind.as_str().unwrap_or_default(), ""),
        };
        let (hint, of) = match kind {
            "string" => (string().to_owned(), None),
            "integer" => ("int".to_owned(), None),
            "number" => ("float".to_owned(), None),
            "boolean" => ("bool".to_owned(), None),
            "array" if schema["maxItems"] == 2 => ("tuple[int, int]".to_owned(), None),
            "array" => {
                let (hint, of) = self.hint(class, field, &schema["items"]);
                (format!("list[{hint}]"), of.map(|(_, class)| ("list", class)))
            }
            "object" => {
                let of_any = schema["properties"].as_object().and_then(|fields| fields.values().next());
                let value = of_any.unwrap_or(&schema["additionalProperties"]).clone();
                let (hint, of) = self.hint(class, field, &value);
                (format!("dict[str, {hint}]"), of.map(|(_, class)| ("dict", class)))
            }
            other => panic!("{class}.{field}: no Python type for {other}"),
        };
        (format!("{hint}{optional}"), of)
    }

    fn preset(&self, default: &Value, of: Option<&(&'static str, String)>) -> String {
        match (default, of) {
            (Value::Array(items), _) if items.is_empty() => "field(default_factory=list)".to_owned(),
            (Value::Object(_), Some(("one", class))) => format!("field(default_factory={class})"),
            (Value::Object(fields), _) if fields.is_empty() => "field(default_factory=dict)".to_owned(),
            (Value::Null, _) => "None".to_owned(),
            (Value::Bool(value), _) => (if *value { "True" } else { "False" }).to_owned(),
            (other, _) => other.to_string(),
        }
    }
}

fn special(name: &str) -> (&str, &'static str) {
    SPECIAL.iter().find(|(rust, ..)| *rust == name).map_or((name, "Data"), |(_, python, base)| (*python, *base))
}

/// The names of a set of names.
pub(crate) fn names(definition: &Value) -> Option<Vec<String>> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    if let Some(names) = definition["enum"].as_array() {
        return names.iter().map(text).collect();
    }
    let options = definition["oneOf"].as_array()?;
    let grouped = |option: &Value| match option["enum"].as_array() {
        Some(names) => names.iter().map(text).collect(),
        None => text(&option["const"]).map(|name| vec![name]),
    };
    Some(options.iter().map(grouped).collect::<Option<Vec<_>>>()?.concat())
}

fn docstring(schema: &Value, indent: &str) -> String {
    let Some(text) = schema["description"].as_str() else { return String::new() };
    // Links to Rust's items mean nothing here.
    let text = text.replace("[`", "`").replace("`]", "`").replace('\\', "\\\\").replace("`None`", "None");
    let lines: Vec<&str> = text.lines().collect();
    let joined = lines.join(&format!("\n{indent}"));
    let end = if lines.len() > 1 { format!("\n{indent}\"\"\"\n") } else { "\"\"\"\n".to_owned() };
    format!("{indent}\"\"\"{joined}{end}")
}
