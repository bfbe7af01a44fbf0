//! The reader against a naive model of Go's decoding: values are made together with what they mean in YAML 1.1, and a field of a Go type
//! either takes such a meaning or not.

use proptest::prelude::*;

use super::{Settings, fields};
use crate::config::kind::{FieldKind, FieldValue};
use crate::config::values::KubeProxyConfiguration;

const HEAD: &str = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n";

/// What a value means in YAML 1.1.
#[derive(Clone, Debug)]
enum Meaning {
    Null,
    Flag(bool),
    /// A number, whole or not.
    Number(f64),
    Text(String),
    Texts(Vec<String>),
    Flags(Vec<(String, bool)>),
}

/// A value as it is written, and its meaning.
fn value() -> impl Strategy<Value = (String, Meaning)> {
    prop_oneof![
        prop::sample::select(vec!["", "~", "null", "Null", "NULL"]).prop_map(|word| (word.to_owned(), Meaning::Null)),
        prop::sample::select(vec!["y", "Yes", "true", "TRUE", "on", "On"])
            .prop_map(|word| (word.to_owned(), Meaning::Flag(true))),
        prop::sample::select(vec!["n", "NO", "false", "False", "off", "OFF"])
            .prop_map(|word| (word.to_owned(), Meaning::Flag(false))),
        (-2_000_000_000_i64..3_000_000_000, 0..8_u8).prop_map(|(number, style)| whole(number, style)),
        (0_i64..200, 0..8_u8).prop_map(|(number, style)| whole(number, style)),
        (-1_000_i64..1_000, 1..10_u32).prop_map(|(number, tenths)| {
            let text = format!("{number}.{tenths}");
            let meaning = Meaning::Number(text.parse().unwrap());
            (text, meaning)
        }),
        prop::sample::select(vec!["yES", "oN", "1.2.3", "soon", "0x", "1e", "30 s", "-", "1,000"])
            .prop_map(|word| (format!("\"{word}\""), Meaning::Text(word.to_owned()))),
        prop::sample::select(vec![
            "yES", "nULL", "1.2.3", "soon", "1e", "30s", "1h30m", "1.5s", "ipvs", "text", "::1", "12:30"
        ])
        .prop_map(|word| (word.to_owned(), Meaning::Text(word.to_owned()))),
        prop::sample::select(vec!["true", "1", "null", "0.5", ""])
            .prop_map(|word| (format!("'{word}'"), Meaning::Text(word.to_owned()))),
        prop::collection::vec("[a-m]{2,4}", 0..3)
            .prop_map(|words| (format!("[{}]", words.join(", ")), Meaning::Texts(words))),
        prop::collection::btree_map("[A-M][a-m]{2,4}", any::<bool>(), 0..3).prop_map(|gates| {
            let texts: Vec<String> = gates.iter().map(|(gate, on)| format!("{gate}: {on}")).collect();
            (format!("{{{}}}", texts.join(", ")), Meaning::Flags(gates.into_iter().collect()))
        }),
    ]
}

/// A whole number in one of the ways to write it.
fn whole(number: i64, style: u8) -> (String, Meaning) {
    let (sign, size) = (if number < 0 { "-" } else { "" }, number.unsigned_abs());
    let text = match style {
        0 => format!("{sign}{size:#x}"),
        1 => format!("{sign}0{size:o}"),
        2 => format!("{sign}0o{size:o}"),
        3 => format!("{sign}{size:#b}"),
        4 => format!("{sign}{size}.0"),
        5 => format!("{sign}{size}0e-01"),
        6 => format!("{sign}{}", size.to_string().chars().map(String::from).collect::<Vec<_>>().join("_")),
        _ => number.to_string(),
    };
    #[expect(clippy::cast_precision_loss, reason = "the numbers are small")]
    (text, Meaning::Number(number as f64))
}

/// What Go decodes: an error; no value, so the default; or a value.
fn decoded(kind: FieldKind, meaning: &Meaning) -> Result<Option<FieldValue>, ()> {
    let value = match (kind, meaning) {
        (_, Meaning::Null) => return Ok(None),
        (FieldKind::Flag, Meaning::Flag(flag)) => FieldValue::Flag(*flag),
        #[expect(clippy::cast_possible_truncation, reason = "the number is whole and small")]
        (FieldKind::Integer(..), Meaning::Number(number)) if number.fract() == 0.0 => {
            FieldValue::Integer(*number as i64)
        }
        (FieldKind::Number, Meaning::Number(number)) => FieldValue::Number(*number),
        (FieldKind::Duration(_), Meaning::Text(text)) => FieldValue::Duration(text.parse()?),
        (FieldKind::Text | FieldKind::Choice(_) | FieldKind::Address | FieldKind::Bind(_), Meaning::Text(text)) => {
            FieldValue::Text(text.clone())
        }
        (FieldKind::List, Meaning::Texts(texts)) => FieldValue::List(texts.clone()),
        (FieldKind::Gates, Meaning::Flags(flags)) => FieldValue::Gates(flags.iter().cloned().collect()),
        _ => return Err(()),
    };
    Ok(Some(value))
}

/// Where the reader takes more than Go does: 0 as a duration, and numbers of nanoseconds and sizes, which have types of their own.
fn is_lenient(kind: FieldKind, meaning: &Meaning) -> bool {
    match kind {
        FieldKind::Duration(_) => matches!(meaning, Meaning::Number(_)),
        FieldKind::Quantity | FieldKind::Modules => true,
        _ => false,
    }
}

/// A file with this value at a path.
fn file(path: &str, value: &str) -> String {
    let names: Vec<&str> = path.split('.').collect();
    let mut text = HEAD.to_owned();
    for (depth, name) in names.iter().enumerate() {
        text += &format!("{}{name}:", "  ".repeat(depth));
        text += if depth + 1 == names.len() { " " } else { "\n" };
    }
    text + value + "\n"
}

proptest! {
    #[test]
    fn a_value_is_taken_exactly_if_gos_type_takes_its_meaning(
        field in prop::sample::select(fields::FIELDS),
        (written, meaning) in value(),
    ) {
        prop_assume!(!is_lenient(field.kind, &meaning));
        let text = file(field.path, &written);
        let read = KubeProxyConfiguration::read("f", &text).unwrap();
        let in_range = |value: &FieldValue| field.kind.check(value).is_ok();
        match decoded(field.kind, &meaning) {
            Err(()) => {
                prop_assert_eq!(read.problems.len(), 1, "{}", text);
                let problem = &read.problems[0];
                prop_assert!(problem.place.starts_with(field.path), "{:?}", problem);
                // The text is quoted as it was written.
                let shown = problem.value.trim_matches('"');
                prop_assert!(written.contains(shown) || matches!(shown, "a list" | "a mapping"), "{:?}", problem);
            }
            Ok(value) => {
                prop_assert!(read.problems.is_empty(), "{}: {:?}", text, read.problems);
                let value = value.filter(|value| !(field.zero_is_default && value.is_zero()));
                let expected = value.unwrap_or_else(|| field.default_value());
                prop_assert_eq!(read.configuration.get(field.path), Some(&expected), "{}", text);
                // What is out of range stops the start, and is quoted as it was written.
                let outside = read.configuration.problems(&read.written);
                let of_field: Vec<_> = outside.iter().filter(|problem| problem.place == field.path).collect();
                prop_assert_eq!(of_field.is_empty(), in_range(&expected) || expected == field.default_value());
                prop_assert!(of_field.iter().all(|problem| written.contains(problem.value.trim_matches('"'))));
            }
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "(\\PC|[\\n\\t :,\\[\\]{}#&*!|>'\"%@-]){0,60}") {
        let _ = Settings::resolve(Some(("f", &text)), &[]);
        let _ = Settings::resolve(Some(("f", &format!("{HEAD}{text}"))), &[]);
    }

    #[test]
    fn a_name_in_another_case_is_unknown_and_named(field in prop::sample::select(fields::FIELDS)) {
        let path = field.path.to_uppercase();
        let notes = KubeProxyConfiguration::read("f", &file(&path, "x")).unwrap().notes;
        prop_assert_eq!(notes.len(), 1);
        let first = path.split('.').next().unwrap_or_default();
        prop_assert!(format!("{notes:?}").contains(first), "{:?}", notes);
    }
}
