//! A CloudFormation template as JSON: the short forms `!Ref X` and `!GetAtt X.Y` become what they stand for.

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Number, Value};

pub fn read(text: &str) -> Value {
    let documents = Yaml::load_from_str(text).expect("the template is YAML");
    json(documents.first().expect("the template holds a document"))
}

fn json(node: &Yaml) -> Value {
    match node {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(truth)) => Value::Bool(*truth),
        Yaml::Value(Scalar::Integer(number)) => Value::Number(Number::from(*number)),
        Yaml::Value(Scalar::FloatingPoint(number)) => Value::from(number.into_inner()),
        Yaml::Value(Scalar::String(text)) => Value::String(text.to_string()),
        Yaml::Sequence(items) => Value::Array(items.iter().map(json).collect()),
        Yaml::Mapping(fields) => Value::Object(
            fields
                .iter()
                .map(|(key, value)| (key.as_str().expect("keys are text").to_owned(), json(value)))
                .collect(),
        ),
        Yaml::Tagged(tag, node) => {
            let short = tag.suffix.as_str();
            let name = match short {
                "Ref" | "Condition" => short.to_owned(),
                _ => format!("Fn::{short}"),
            };
            Value::Object(Map::from_iter([(name, json(node))]))
        }
        other => panic!("the template holds {other:?}"),
    }
}
