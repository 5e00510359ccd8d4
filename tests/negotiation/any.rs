//! Specs at random, by the schema: a new field of the spec is generated without a line here.

use krundl::VmSpec;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::string::string_regex;
use serde_json::{Map, Value, json};

pub const SCHEMA: &str = include_str!("../../docs/spec.schema.json");

/// How strings and the presence of optional fields are chosen.
#[derive(Clone, Copy)]
pub struct Taste {
    /// Any strings, not those that mean something.
    pub wild: bool,
    /// How probable each optional field is.
    pub density: f64,
}

/// Any spec that the schema allows, as JSON.
pub fn spec_json(taste: Taste) -> BoxedStrategy<Value> {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    value(&schema, &schema, "", taste)
}

/// Specs that make sense often enough to be granted.
pub fn spec(density: f64) -> impl Strategy<Value = VmSpec> {
    spec_json(Taste { wild: false, density }).prop_map(|json| serde_json::from_value(json).unwrap())
}

/// The names of the spec's fields.
pub fn fields() -> Vec<String> {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    schema["properties"].as_object().unwrap().keys().cloned().collect()
}

fn value(schema: &Value, all: &Value, name: &str, taste: Taste) -> BoxedStrategy<Value> {
    if let Some(reference) = schema["$ref"].as_str() {
        let definition = &all["$defs"][reference.strip_prefix("#/$defs/").unwrap()];
        return value(definition, all, name, taste);
    }
    if let Some(constant) = schema.get("const") {
        return Just(constant.clone()).boxed();
    }
    if let Some(values) = schema["enum"].as_array() {
        return select(values.clone()).boxed();
    }
    if let Some(alternatives) = schema["oneOf"].as_array().or(schema["anyOf"].as_array()) {
        let alternatives = alternatives.iter().map(|alternative| value(alternative, all, name, taste));
        return proptest::strategy::Union::new(alternatives).boxed();
    }
    if let Some(types) = schema["type"].as_array() {
        let of_type = |kind: &Value| {
            let mut schema = schema.clone();
            schema["type"] = kind.clone();
            value(&schema, all, name, taste)
        };
        return proptest::strategy::Union::new(types.iter().map(of_type)).boxed();
    }
    match schema["type"].as_str().unwrap_or_else(|| panic!("{name} has no type: {schema}")) {
        "null" => Just(Value::Null).boxed(),
        "boolean" => any::<bool>().prop_map(Value::Bool).boxed(),
        "integer" => integer(schema, taste).prop_map(|number| json!(number)).boxed(),
        "string" => string(schema, name, taste).prop_map(Value::String).boxed(),
        "array" => {
            let most = usize::try_from(schema["maxItems"].as_u64().unwrap_or(3)).unwrap();
            let least = usize::try_from(schema["minItems"].as_u64().unwrap_or(0)).unwrap();
            vec(value(&schema["items"], all, name, taste), least..=most).prop_map(Value::Array).boxed()
        }
        "object" => object(schema, all, taste),
        other => panic!("{name} is of type {other}"),
    }
}

fn integer(schema: &Value, taste: Taste) -> BoxedStrategy<i64> {
    let least = schema["minimum"].as_i64().unwrap_or(0);
    let most = schema["maximum"].as_i64().unwrap_or(match schema["format"].as_str() {
        Some("uint8") => u8::MAX.into(),
        Some("uint16") => u16::MAX.into(),
        Some("uint32") => u32::MAX.into(),
        _ => i64::MAX,
    });
    let few = least..=most.min(least.saturating_add(3));
    if taste.wild { (least..=most).boxed() } else { prop_oneof![few, Just(most.min(512)), least..=most].boxed() }
}

fn string(schema: &Value, name: &str, taste: Taste) -> BoxedStrategy<String> {
    if let Some(pattern) = schema["pattern"].as_str() {
        return string_regex(pattern).unwrap().boxed();
    }
    if schema["format"] == "ipv4" {
        let any = any::<std::net::Ipv4Addr>().prop_map(|address| address.to_string());
        return prop_oneof![Just("127.0.0.1".to_owned()), any].boxed();
    }
    if schema["format"] == "ip" {
        return any::<std::net::IpAddr>().prop_map(|address| address.to_string()).boxed();
    }
    if taste.wild {
        return any::<String>().prop_filter("no NUL", |text| !text.contains('\0')).boxed();
    }
    let words: &[&str] = match name {
        "guest" => &["/workspace", "/a", "/a/b", "/mnt/deep/er"],
        "address" => &["192.0.2.7/24", "10.0.0.1/8"],
        "tag" => &["one", "two", "three", "four"],
        "cmdline" => &["console=hvc0 init=/init.krun rootfstype=virtiofs rw", "quiet"],
        _ => &["/srv/a", "/srv/b/c", "/srv/d", "/dev/null"],
    };
    select(words).prop_map(str::to_owned).boxed()
}

/// Fields that must be there, and some of the others.
fn object(schema: &Value, all: &Value, taste: Taste) -> BoxedStrategy<Value> {
    let mut fields: BoxedStrategy<Map<String, Value>> = Just(Map::new()).boxed();
    if schema["additionalProperties"].is_object() {
        let values = value(&schema["additionalProperties"], all, "", taste);
        let map = btree_map(select(&["A", "B", "PATH"][..]), values, 0..3);
        fields = map.prop_map(|map| map.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()).boxed();
    }
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let property = value(property, all, name, taste);
        let field = if required.contains(&name.as_str()) {
            property.prop_map(Some).boxed()
        } else {
            proptest::option::weighted(taste.density, property).boxed()
        };
        let name = name.clone();
        fields = (fields, field)
            .prop_map(move |(mut fields, field)| {
                if let Some(field) = field {
                    fields.insert(name.clone(), field);
                }
                fields
            })
            .boxed();
    }
    fields.prop_map(Value::Object).boxed()
}
